//! Listening sockets that work on hosts with and without IPv6.
//!
//! A socket bound to `::` accepts connections over IPv4 too, independent of the host's `bindv6only`. If the kernel
//! has no IPv6, the same configuration listens on `0.0.0.0`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Options of a listening TCP socket.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// The length of the accept queue.
    pub backlog: u32,
    /// Whether several sockets share the address, among which the kernel distributes connections (`SO_REUSEPORT`).
    pub reuse_port: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_port: false,
        }
    }
}

/// A listening TCP socket, in blocking mode. Port 0 is any free port.
///
/// # Errors
///
/// The error of the system, for example that the address is in use.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    tcp_with(address, &ListenOptions::default())
}

/// As [`tcp`], with options.
///
/// # Errors
///
/// As [`tcp`].
pub fn tcp_with(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    with_fallback(address, |address| {
        let socket = bound(address, Type::STREAM, Protocol::TCP, |socket| {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(options.reuse_port)
        })?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    })
}

/// A bound UDP socket, in blocking mode. Port 0 is any free port.
///
/// # Errors
///
/// As [`tcp`].
pub fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    with_fallback(address, |address| {
        bound(address, Type::DGRAM, Protocol::UDP, |_| Ok(())).map(Into::into)
    })
}

fn bound(
    address: SocketAddr,
    kind: Type,
    protocol: Protocol,
    configure: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    configure(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Calls `open` with the address, and with `0.0.0.0` if that was `::` and the kernel has no IPv6.
fn with_fallback<T>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let any = address.is_ipv6() && address.ip().is_unspecified();
    match open(address) {
        Err(error) if any && is_without_ipv6(&error) => {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            tracing::info!(%address, "this host has no IPv6; listening on IPv4 alone");
            open(address)
        }
        outcome => outcome,
    }
}

/// Whether the error means that the address family does not exist or is disabled.
fn is_without_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn every_address_is_served_over_ipv4_too() {
        let socket = tcp("[::]:0".parse().expect("an address")).expect("listens");
        let port = socket.local_addr().expect("bound").port();
        TcpStream::connect(("127.0.0.1", port)).expect("over IPv4");
        udp("[::]:0".parse().expect("an address")).expect("bound");
    }

    #[test]
    fn without_ipv6_every_address_is_every_ipv4_address() {
        let open = |address: SocketAddr| match address {
            SocketAddr::V4(_) => Ok(address),
            SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        };
        let any = "[::]:80".parse().expect("an address");
        let listened = with_fallback(any, open).expect("IPv4");
        assert_eq!(listened.to_string(), "0.0.0.0:80");
        let one = "[::1]:80".parse().expect("an address");
        assert!(
            with_fallback(one, open).is_err(),
            "a single address has no other"
        );
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let first = tcp("127.0.0.1:0".parse().expect("an address")).expect("listens");
        let address = first.local_addr().expect("bound");
        assert_eq!(
            tcp(address).expect_err("taken").kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
