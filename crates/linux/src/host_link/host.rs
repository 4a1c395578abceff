//! The launcher's end: executes the requests of the runtime one after the other.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::{fs, io, thread};

use parking_lot::Mutex;

use super::packet::{receive, send};
use super::{Operation, Outcome, Reply, Request};
use crate::Result;
use crate::error::Attempt as _;

/// Maximum Unix sockets of one runtime.
const MAX_PATHS: usize = 1000;
/// Maximum lines that wait for a terminal that does not read. Later ones are dropped.
const MAX_LINES: usize = 4096;

/// The launcher's end of the link.
#[derive(Debug)]
pub(crate) struct HostEnd {
    socket: Arc<OwnedFd>,
    /// Unix sockets that are removed on drop.
    paths: Arc<Mutex<Vec<PathBuf>>>,
}

impl HostEnd {
    /// Serves the link on a thread until the runtime ends. `guard` is the process from which the whole sandbox
    /// descends; `listeners` are handed over when the runtime asks to listen on their addresses.
    pub(crate) fn serve(
        socket: OwnedFd,
        guard: u32,
        mut listeners: Vec<TcpListener>,
        print: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self> {
        let lines = printer(print)?;
        let end = Self {
            socket: Arc::new(socket),
            paths: Arc::default(),
        };
        let (socket, paths) = (end.socket.clone(), end.paths.clone());
        let serve = move || {
            while let Ok(Some((Request { id, operation }, _))) = receive(socket.as_fd()) {
                let done = match operation {
                    Operation::Print(line) => {
                        lines.try_send(line).ok();
                        continue;
                    }
                    Operation::HostPid(inner) => {
                        host_pid(guard, inner).map(|pid| (Outcome::Pid(pid), None))
                    }
                    Operation::ListenTcp(address) => {
                        listen_tcp(address, &mut listeners).map(with_socket)
                    }
                    Operation::ListenUnix(path) => listen_unix(&path, &paths).map(with_socket),
                };
                let (outcome, fd) = done.unwrap_or_else(|error| (failed(&error), None));
                if send(socket.as_fd(), &Reply { id, outcome }, fd.as_ref()).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("host-link".into())
            .spawn(serve)
            .attempt(|| "serve the host link".into())?;
        Ok(end)
    }

    pub(crate) fn request_stop(&self) {
        let outcome = Outcome::Stop;
        send(self.socket.as_fd(), &Reply { id: 0, outcome }, None).ok();
    }
}

impl Drop for HostEnd {
    fn drop(&mut self) {
        let paths = std::mem::take(&mut *self.paths.lock());
        for path in paths {
            fs::remove_file(path).ok();
        }
        // Ends the serving thread, which holds the socket too.
        rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both).ok();
    }
}

/// Starts a thread that prints, so that a terminal that does not read delays no request. It ends with the sender.
fn printer(mut print: impl FnMut(&str) + Send + 'static) -> Result<SyncSender<String>> {
    let (sender, lines) = sync_channel::<String>(MAX_LINES);
    thread::Builder::new()
        .name("host-link-lines".into())
        .spawn(move || lines.iter().for_each(|line| print(&line)))
        .attempt(|| "print what the sandbox says".into())?;
    Ok(sender)
}

fn listen_tcp(address: SocketAddr, bound: &mut Vec<TcpListener>) -> io::Result<TcpListener> {
    let is_there = |listener: &TcpListener| listener.local_addr().is_ok_and(|at| at == address);
    match bound.iter().position(is_there) {
        Some(index) => Ok(bound.swap_remove(index)),
        None => TcpListener::bind(address),
    }
}

fn with_socket(socket: impl Into<OwnedFd>) -> (Outcome, Option<OwnedFd>) {
    (Outcome::Socket, Some(socket.into()))
}

fn failed(error: &io::Error) -> Outcome {
    Outcome::Failed {
        errno: error.raw_os_error(),
        message: error.to_string(),
    }
}

fn listen_unix(path: &Path, paths: &Mutex<Vec<PathBuf>>) -> io::Result<UnixListener> {
    if !path.is_absolute() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path is not absolute",
        ));
    }
    let mut paths = paths.lock();
    if paths.len() == MAX_PATHS {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let listener = match UnixListener::bind(path) {
        // A leftover of a killed launcher, if nothing accepts connections.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            _ => return Err(error),
        },
        other => other?,
    };
    paths.push(path.to_path_buf());
    Ok(listener)
}

/// Finds the descendant of `guard` that has the process id `inner` in the sandbox.
///
/// The second number of NSpid in `/proc/PID/status` is the process id in the namespace below the reader's: the
/// sandbox's, for a descendant of the guard.
fn host_pid(guard: u32, inner: u32) -> io::Result<u32> {
    let mut parents = BTreeMap::new();
    let mut candidates = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        if let Some(parent) = field("PPid:").and_then(|value| value.trim().parse::<u32>().ok()) {
            parents.insert(pid, parent);
        }
        if field("NSpid:")
            .and_then(|value| value.split_whitespace().nth(1))
            .is_some_and(|number| number.parse() == Ok(inner))
        {
            candidates.push(pid);
        }
    }
    let descends = |pid: &u32| {
        let mut ancestor = *pid;
        // A chain as long as the table is a cycle, which a table that changes meanwhile can contain.
        for _ in 0..parents.len() {
            if ancestor == guard {
                return true;
            }
            match parents.get(&ancestor) {
                Some(parent) => ancestor = *parent,
                None => return false,
            }
        }
        false
    };
    candidates
        .into_iter()
        .find(descends)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}
