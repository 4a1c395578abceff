//! The runtime's end: many callers, one reader.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::{io, process, thread};

use tokio::sync::{oneshot, watch};

use super::packet::{receive, send};
use super::{Answer, Asked, Request};

/// What this process exits with when the launcher is gone: EX_IOERR.
const ORPHANED: i32 = 74;

type Waiting = HashMap<u64, oneshot::Sender<io::Result<Given>>>;

#[derive(Debug)]
enum Given {
    Socket(OwnedFd),
    Pid(u32),
}

#[derive(Debug)]
pub(super) struct Runtime {
    socket: OwnedFd,
    next: AtomicU64,
    /// Callers by the number of their request.
    waiting: Mutex<Waiting>,
    stop: watch::Sender<bool>,
}

impl Runtime {
    pub(super) fn start(socket: OwnedFd) -> io::Result<Arc<Self>> {
        let runtime = Self {
            socket,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            stop: watch::Sender::new(false),
        };
        let runtime = Arc::new(runtime);
        let reader = runtime.clone();
        thread::Builder::new()
            .name("host-link".into())
            .spawn(move || {
                while let Ok(Some((answer, fd))) = receive::<Answer>(reader.socket.as_fd()) {
                    reader.deliver(answer, fd);
                }
                // The kernel kills this sandbox when the launcher dies; this is for the instant before, and for a launcher
                // that merely let go.
                process::exit(ORPHANED);
            })?;
        Ok(runtime)
    }

    fn deliver(&self, answer: Answer, fd: Option<OwnedFd>) {
        let (id, given) = match answer {
            Answer::Stop => {
                self.stop.send_replace(true);
                return;
            }
            Answer::Socket { id } => (
                id,
                fd.map(Given::Socket)
                    .ok_or_else(|| io::ErrorKind::InvalidData.into()),
            ),
            Answer::Pid { id, pid } => (id, Ok(Given::Pid(pid))),
            Answer::Refused { id, errno, message } => (
                id,
                Err(errno.map_or_else(|| io::Error::other(message), io::Error::from_raw_os_error)),
            ),
        };
        if let Some(caller) = self
            .waiting
            .lock()
            .expect("held only to insert or remove")
            .remove(&id)
        {
            caller.send(given).ok();
        }
    }

    async fn ask(&self, what: Asked) -> io::Result<Given> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting
            .lock()
            .expect("held only to insert or remove")
            .insert(id, sender);
        if let Err(error) = send(self.socket.as_fd(), &Request { id, what }, None) {
            self.waiting
                .lock()
                .expect("held only to insert or remove")
                .remove(&id);
            return Err(error);
        }
        receiver
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    pub(super) async fn ask_for_socket(&self, what: Asked) -> io::Result<OwnedFd> {
        match self.ask(what).await? {
            Given::Socket(socket) => Ok(socket),
            Given::Pid(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(super) async fn ask_for_pid(&self, inner: u32) -> io::Result<u32> {
        match self.ask(Asked::HostPid(inner)).await? {
            Given::Pid(pid) => Ok(pid),
            Given::Socket(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(super) fn tell(&self, what: Asked) {
        send(self.socket.as_fd(), &Request { id: 0, what }, None).ok();
    }

    pub(super) async fn stop_requested(&self) {
        // The sender lives as long as this does.
        self.stop.subscribe().wait_for(|stop| *stop).await.ok();
    }
}
