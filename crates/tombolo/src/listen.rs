//! Where a server listens: an address, or a socket that the parent process has opened.
//!
//! With a socket of its parent a server can be killed and started again without a connection being
//! refused in between: the socket stays open, and new connections wait in its queue.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{FromRawFd, OwnedFd, RawFd},
    str::FromStr,
};
use tombolo_telemetry::listen;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// An address and port; port 0 takes any that is free.
    Address(SocketAddr),
    /// `fd://N`: a socket that is open already.
    Inherited(RawFd),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(number) = text.strip_prefix("fd://") {
            return match number.parse::<RawFd>() {
                Ok(fd) if fd > 2 => Ok(Endpoint::Inherited(fd)),
                _ => Err(format!(
                    "{number:?} is not the number of an inherited socket (3 or more)"
                )),
            };
        }
        text.parse().map(Endpoint::Address).map_err(|_| {
            format!("{text:?} is not an address like 127.0.0.1:8490 or [::1]:8490, nor fd://N")
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Address(address) => address.fmt(f),
            Endpoint::Inherited(fd) => write!(f, "fd://{fd}"),
        }
    }
}

/// A socket of either kind.
pub(crate) enum Socket {
    /// A listening TCP socket.
    Tcp(tokio::net::TcpListener),
    /// A bound UDP socket.
    Udp(tokio::net::UdpSocket),
}

impl Endpoint {
    /// A listening TCP socket.
    pub(crate) fn tcp(&self, option: &str) -> Result<tokio::net::TcpListener, String> {
        let listener = match self {
            Endpoint::Address(address) => {
                listen::tcp(*address).map_err(|e| self.refused(option, &e))?
            }
            Endpoint::Inherited(fd) => TcpListener::from(inherited(*fd)?),
        };
        listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpListener::from_std(listener))
            .map_err(|error| self.refused(option, &error))
    }

    /// The sockets for datagrams and connections at this endpoint: both for an address, the one that
    /// it is for an inherited socket.
    pub(crate) fn udp_and_tcp(&self, option: &str) -> Result<Vec<Socket>, String> {
        match self {
            Endpoint::Address(address) => {
                let udp = listen::udp(*address).map_err(|e| self.refused(option, &e))?;
                // Port 0 took any that was free: connections come to the same.
                let at = udp.local_addr().map_err(|e| self.refused(option, &e))?;
                let tcp = Endpoint::Address(at).tcp(option)?;
                Ok(vec![
                    Socket::Udp(self.asynchronous(option, udp)?),
                    Socket::Tcp(tcp),
                ])
            }
            Endpoint::Inherited(fd) => {
                let socket = inherited(*fd)?;
                let kind = rustix::net::sockopt::socket_type(&socket)
                    .map_err(|error| self.refused(option, &error.into()))?;
                if kind == rustix::net::SocketType::DGRAM {
                    let udp = UdpSocket::from(socket);
                    return Ok(vec![Socket::Udp(self.asynchronous(option, udp)?)]);
                }
                let listener = TcpListener::from(socket);
                listener
                    .set_nonblocking(true)
                    .and_then(|()| tokio::net::TcpListener::from_std(listener))
                    .map(|listener| vec![Socket::Tcp(listener)])
                    .map_err(|error| self.refused(option, &error))
            }
        }
    }

    fn asynchronous(&self, option: &str, udp: UdpSocket) -> Result<tokio::net::UdpSocket, String> {
        udp.set_nonblocking(true)
            .and_then(|()| tokio::net::UdpSocket::from_std(udp))
            .map_err(|error| self.refused(option, &error))
    }

    fn refused(&self, option: &str, error: &io::Error) -> String {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process uses it: stop that one, or choose another port"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose a higher one"
            }
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has it",
            _ => "choose another",
        };
        format!("{option} {self}: cannot listen there: {error}; {hint}")
    }
}

/// Takes over a descriptor that the parent process left open for this one.
#[allow(unsafe_code)]
fn inherited(fd: RawFd) -> Result<OwnedFd, String> {
    rustix::io::fcntl_getfd(
        // SAFETY: the borrow lives for this call alone; a number that is not open is reported by it.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) },
    )
    .map_err(|_| format!("fd://{fd}: no such descriptor was inherited"))?;
    // SAFETY: it is open (just asked), the parent passed it for this purpose, and each number is named
    // by one option only, so nothing else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_or_inherited_sockets() {
        assert_eq!("fd://3".parse(), Ok(Endpoint::Inherited(3)));
        assert!("fd://1".parse::<Endpoint>().is_err());
        assert!("localhost".parse::<Endpoint>().is_err());
        let address: Endpoint = "127.0.0.1:0".parse().expect("an address");
        assert_eq!(address.to_string(), "127.0.0.1:0");
    }

    #[test]
    fn a_port_in_use_is_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = Endpoint::Address(taken.local_addr().expect("bound"));
        let error = endpoint.tcp("--api").expect_err("taken");
        assert!(error.starts_with("--api 127.0.0.1:"), "{error}");
        assert!(error.contains("another process uses it"), "{error}");
    }
}
