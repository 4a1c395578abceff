//! Where a redirected client meant to go.
//!
//! The kernel keeps the address from before the redirect in connection tracking; `socket2` reads it, so that no
//! unsafe code is needed here.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

/// The destination before redirection, or `None` when the connection was not redirected.
pub(crate) fn original_dst(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let local = stream.local_addr().ok()?;
    let found = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        // A dual-stack listener sees IPv4 clients with mapped addresses, and their entry is an IPv4 one.
        SocketAddr::V6(address) if address.ip().to_ipv4_mapped().is_some() => {
            socket.original_dst_v4()
        }
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    found.ok()?.as_socket()
}
