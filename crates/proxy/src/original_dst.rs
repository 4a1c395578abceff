//! Original destinations of redirected connections, and detection of connections to the proxy itself.
//!
//! The original destination of a connection that was not redirected is its own local address. A proxy that dials it
//! connects to itself in a loop, until no descriptor is left. Envoy does that; the planner's configuration prevents
//! it, and so does [`ListenerAddresses`], whatever the configuration.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::SockRef;
use tokio::net::TcpStream;

/// The destination before redirection, which the kernel keeps in connection tracking; `None` when the connection was
/// not redirected. `local` is the connection's own address.
pub(crate) fn original_dst(stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let found = match local.ip().to_canonical() {
        // A dual-stack listener reports IPv4 clients with mapped addresses, whose connection-tracking entry is an
        // IPv4 one.
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    found.ok()?.as_socket()
}

/// The addresses of one worker's bound listeners.
#[derive(Debug, Default)]
pub(crate) struct ListenerAddresses(RefCell<Vec<SocketAddr>>);

impl ListenerAddresses {
    pub(crate) fn replace(&self, addresses: impl Iterator<Item = SocketAddr>) {
        *self.0.borrow_mut() = addresses.collect();
    }

    /// Whether a connection to `address` would arrive at a listener of this proxy. Makes a system call only when the
    /// port matches.
    pub(crate) fn contains_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.0.borrow().iter().any(|own| {
            own.port() == address.port()
                && match own.ip().to_canonical() {
                    own if own == ip => true,
                    IpAddr::V4(own) => own.is_unspecified() && ip.is_ipv4() && is_local(ip),
                    IpAddr::V6(own) => own.is_unspecified() && is_local(ip),
                }
        })
    }
}

/// Whether an address belongs to this host: only those can be bound.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(own: &str, address: &str) -> bool {
        let sockets = ListenerAddresses::default();
        sockets.replace([own.parse().expect("an address")].into_iter());
        sockets.contains_address(address.parse().expect("an address"))
    }

    #[test]
    fn wildcard_listeners_are_reached_by_every_local_address() {
        for local in ["127.0.0.1:15001", "127.9.9.9:15001", "0.0.0.0:15001"] {
            assert!(contains("0.0.0.0:15001", local), "{local}");
            assert!(contains("[::]:15001", local), "{local}");
        }
        assert!(contains("[::]:15001", "[::1]:15001"));
        assert!(contains("[::]:15001", "[::ffff:127.0.0.1]:15001"));
        assert!(!contains("0.0.0.0:15001", "[::1]:15001"));
        // Documentation addresses (RFC 5737) are on no host.
        assert!(!contains("0.0.0.0:15001", "192.0.2.1:15001"));
        assert!(!contains("0.0.0.0:15001", "127.0.0.1:15002"));
    }

    #[test]
    fn other_listeners_are_reached_by_their_own_address() {
        assert!(contains("127.0.0.1:15001", "127.0.0.1:15001"));
        assert!(!contains("127.0.0.1:15001", "127.0.0.2:15001"));
    }
}
