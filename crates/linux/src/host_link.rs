//! The link between the sandbox and its host: the runtime asks, the launcher does it in the host's namespaces.
//!
//! One JSON message per packet of a unix socket pair; a listener travels as a descriptor beside its answer. The runtime
//! trusts the launcher and the launcher the runtime: both are the same program.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

mod host;
mod packet;
mod runtime;

pub(crate) use host::HostEnd;
use runtime::Runtime;

/// The longest line that is printed whole.
const LONGEST_LINE: usize = 16 * 1024;

/// From the runtime to the launcher.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// Zero: no answer is wanted.
    id: u64,
    what: Asked,
}

#[derive(Debug, Serialize, Deserialize)]
enum Asked {
    ListenTcp(SocketAddr),
    BindUdp(SocketAddr),
    ListenUnix(PathBuf),
    HostPid(u32),
    Print(String),
}

/// From the launcher to the runtime.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Stop,
    /// A descriptor comes with it.
    Socket {
        id: u64,
    },
    Pid {
        id: u64,
        pid: u32,
    },
    Refused {
        id: u64,
        errno: Option<i32>,
        message: String,
    },
}

/// Two ends of a new link.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// The runtime's end. Clones share one link. When the launcher dies, this process exits.
#[derive(Clone, Debug)]
pub struct HostLink(std::sync::Arc<Runtime>);

impl HostLink {
    pub(crate) fn over(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(Runtime::start(socket)?))
    }

    /// Listens for TCP in the host's network namespace. The listener does not block.
    pub async fn listen_tcp(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let listener = TcpListener::from(self.0.ask_for_socket(Asked::ListenTcp(address)).await?);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Binds a UDP socket in the host's network namespace. The socket does not block.
    pub async fn bind_udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::from(self.0.ask_for_socket(Asked::BindUdp(address)).await?);
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Listens at an absolute path of the host. A socket nobody listens at any more is replaced; the launcher removes
    /// the path when it ends. The listener does not block.
    pub async fn listen_unix(&self, path: &Path) -> io::Result<UnixListener> {
        let listener = UnixListener::from(
            self.0
                .ask_for_socket(Asked::ListenUnix(path.to_path_buf()))
                .await?,
        );
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Prints a line on the launcher's side. A line longer than 16 KiB is cut.
    pub fn print(&self, line: &str) {
        let end = line.floor_char_boundary(LONGEST_LINE);
        self.0.tell(Asked::Print(line[..end].to_owned()));
    }

    /// The host's number of a process of this sandbox. `NotFound` if there is none.
    pub async fn host_pid(&self, inner: u32) -> io::Result<u32> {
        self.0.ask_for_pid(inner).await
    }

    /// Resolves once the launcher has asked the runtime to stop.
    pub async fn stop_requested(&self) {
        self.0.stop_requested().await;
    }
}
