//! The endpoint that a server listens on: an address, or a socket that the parent process has opened.
//!
//! With a socket of its parent a server can be killed and restarted without a connection being refused in between:
//! the socket stays open, and new connections wait in its queue.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    str::FromStr,
};
use tokio::net::{TcpListener, UdpSocket};
use tombolo_telemetry::listen;

/// The endpoint that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// An address and port; port 0 takes any free one.
    Address(SocketAddr),
    /// `fd://N`: an inherited open socket.
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

/// The reason why an endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The kernel refused.
    #[error("{option} {endpoint}: cannot listen there: {}", hint(.source))]
    Refused {
        /// The option that names the endpoint.
        option: &'static str,
        endpoint: Endpoint,
        source: io::Error,
    },
    /// The parent process passed no such descriptor.
    #[error("fd://{0}: no such descriptor was inherited")]
    NotInherited(RawFd),
}

impl Endpoint {
    /// A listening TCP socket; `option` is named in errors.
    pub(crate) fn tcp(&self, option: &'static str) -> Result<TcpListener, ListenError> {
        let listener = match self {
            Endpoint::Address(address) => self.checked(option, listen::tcp(*address))?,
            Endpoint::Inherited(fd) => inherited(*fd)?.into(),
        };
        self.checked(option, asynchronous_tcp(listener))
    }

    /// The sockets for datagrams and connections at this endpoint: both for an address, or the inherited one.
    pub(crate) fn udp_and_tcp(
        &self,
        option: &'static str,
        udp: &mut Vec<UdpSocket>,
        tcp: &mut Vec<TcpListener>,
    ) -> Result<(), ListenError> {
        match self {
            Endpoint::Address(address) => {
                let socket = self.checked(option, listen::udp(*address))?;
                // Port 0 took any free port: TCP uses the same one.
                let at = self.checked(option, socket.local_addr())?;
                udp.push(self.checked(option, asynchronous_udp(socket))?);
                tcp.push(Endpoint::Address(at).tcp(option)?);
            }
            Endpoint::Inherited(fd) => {
                let socket = inherited(*fd)?;
                let kind = rustix::net::sockopt::socket_type(&socket).map_err(io::Error::from);
                match self.checked(option, kind)? {
                    rustix::net::SocketType::DGRAM => {
                        udp.push(self.checked(option, asynchronous_udp(socket.into()))?);
                    }
                    _ => tcp.push(self.checked(option, asynchronous_tcp(socket.into()))?),
                }
            }
        }
        Ok(())
    }

    fn checked<T>(&self, option: &'static str, result: io::Result<T>) -> Result<T, ListenError> {
        result.map_err(|source| ListenError::Refused {
            option,
            endpoint: self.clone(),
            source,
        })
    }
}

fn asynchronous_tcp(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn asynchronous_udp(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// The remedy for an address that cannot be bound.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process uses it; stop that one, or choose another port"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose a higher one",
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has it",
        _ => "choose another",
    }
}

/// Takes ownership of a descriptor that the parent process passed to this one.
#[allow(unsafe_code)]
fn inherited(fd: RawFd) -> Result<OwnedFd, ListenError> {
    rustix::io::fcntl_getfd(
        // SAFETY: the borrow lives for this call alone; a number that is not open is reported by it.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) },
    )
    .map_err(|_| ListenError::NotInherited(fd))?;
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
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = Endpoint::Address(taken.local_addr().expect("bound"));
        let error = endpoint.tcp("--api").expect_err("taken").to_string();
        assert!(error.starts_with("--api 127.0.0.1:"), "{error}");
        assert!(error.contains("another process uses it"), "{error}");
    }
}
