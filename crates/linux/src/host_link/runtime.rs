//! The runtime's end: many callers, and one thread that reads.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, process, thread};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::packet::{receive, send};
use super::{Operation, Outcome, Reply, Request};

/// The exit code of this process when the launcher has ended: EX_IOERR.
const ORPHANED: i32 = 74;

/// Maximum bytes of a printed line; longer ones are cut.
const MAX_LINE: usize = 16 * 1024;

/// The runtime's end of the link. Clones share one link. When the launcher ends, this process exits.
#[derive(Clone, Debug)]
pub struct HostLink(Arc<Link>);

#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    next_id: AtomicU64,
    /// Callers by the id of their request.
    waiting: Mutex<HashMap<u64, Caller>>,
    stop: watch::Sender<bool>,
}

type Caller = oneshot::Sender<(Outcome, Option<OwnedFd>)>;

impl HostLink {
    pub(crate) fn over(socket: OwnedFd) -> io::Result<Self> {
        let link = Arc::new(Link {
            socket,
            next_id: AtomicU64::new(1),
            waiting: Mutex::default(),
            stop: watch::Sender::new(false),
        });
        let reader = link.clone();
        thread::Builder::new()
            .name("host-link".into())
            .spawn(move || {
                while let Ok(Some((reply, fd))) = receive(reader.socket.as_fd()) {
                    reader.deliver(reply, fd);
                }
                // The kernel kills this sandbox when the launcher dies; this covers the moment before, and a launcher
                // that only closed its end.
                process::exit(ORPHANED);
            })?;
        Ok(Self(link))
    }

    /// Listens for TCP in the host's network namespace. The listener is non-blocking.
    ///
    /// # Errors
    /// Errors of the host's kernel, such as `AddrInUse`; `BrokenPipe` when the launcher has ended.
    pub async fn listen_tcp(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = self.0.ask_for_socket(Operation::ListenTcp(address)).await?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Listens on an absolute path of the host. A socket without a listener is replaced; the launcher removes the
    /// path when it ends. The listener is non-blocking.
    ///
    /// # Errors
    /// As [`listen_tcp`](Self::listen_tcp); `QuotaExceeded` beyond 1000 paths.
    pub async fn listen_unix(&self, path: &Path) -> io::Result<UnixListener> {
        let operation = Operation::ListenUnix(path.to_path_buf());
        let listener = UnixListener::from(self.0.ask_for_socket(operation).await?);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Prints a line on the launcher's side. Lines longer than 16 KiB are cut.
    pub fn print(&self, line: &str) {
        let end = line.floor_char_boundary(MAX_LINE);
        let operation = Operation::Print(line[..end].to_owned());
        send(self.0.socket.as_fd(), &Request { id: 0, operation }, None).ok();
    }

    /// The host's process id of a process of this sandbox.
    ///
    /// # Errors
    /// `NotFound` if there is no such process; `BrokenPipe` when the launcher has ended.
    pub async fn host_pid(&self, inner: u32) -> io::Result<u32> {
        match self.0.ask(Operation::HostPid(inner)).await? {
            (Outcome::Pid(pid), _) => Ok(pid),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Resolves once the launcher has asked the runtime to stop.
    pub async fn stop_requested(&self) {
        // The sender lives as long as this handle.
        self.0.stop.subscribe().wait_for(|stop| *stop).await.ok();
    }
}

impl Link {
    fn deliver(&self, Reply { id, outcome }: Reply, fd: Option<OwnedFd>) {
        if let Outcome::Stop = outcome {
            self.stop.send_replace(true);
        } else if let Some(caller) = self.waiting.lock().remove(&id) {
            caller.send((outcome, fd)).ok();
        }
    }

    async fn ask(&self, operation: Operation) -> io::Result<(Outcome, Option<OwnedFd>)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        if let Err(error) = send(self.socket.as_fd(), &Request { id, operation }, None) {
            self.waiting.lock().remove(&id);
            return Err(error);
        }
        match receiver.await {
            Ok((Outcome::Failed { errno, message }, _)) => {
                Err(errno.map_or_else(|| io::Error::other(message), io::Error::from_raw_os_error))
            }
            Ok(reply) => Ok(reply),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    async fn ask_for_socket(&self, operation: Operation) -> io::Result<OwnedFd> {
        match self.ask(operation).await? {
            (Outcome::Socket, Some(socket)) => Ok(socket),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
