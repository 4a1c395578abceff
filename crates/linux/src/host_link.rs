//! The link between the sandbox and its host: the runtime sends requests, the launcher executes them in the host's
//! namespaces.
//!
//! One JSON message per packet of a Unix socket pair; a socket travels as a descriptor beside its reply. Both ends
//! trust each other: they are the same program.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

mod host;
mod packet;
mod runtime;

pub(crate) use host::HostEnd;
pub use runtime::HostLink;

/// From the runtime to the launcher.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// Zero: no reply is expected.
    id: u64,
    operation: Operation,
}

#[derive(Debug, Serialize, Deserialize)]
enum Operation {
    ListenTcp(SocketAddr),
    ListenUnix(PathBuf),
    HostPid(u32),
    Print(String),
}

/// From the launcher to the runtime.
#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    /// The id of the request; zero for a message without one.
    id: u64,
    outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    /// Asks the runtime to stop.
    Stop,
    /// A socket; the descriptor comes with the packet.
    Socket,
    Pid(u32),
    Failed {
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
