//! Processes: a thread of its own starts each, runs its steps between fork and exec, and waits for it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use tokio::sync::watch;

use crate::pre_exec::{PreExec, Step};
use crate::{Error, Result};

/// Small, because the thread only calls `spawn` and `wait`. Each container has such a thread.
const WAITER_STACK: usize = 256 * 1024;

/// The pid namespace that a new process starts in.
#[derive(Clone, Debug)]
pub(crate) enum PidNamespace {
    /// The caller's namespace.
    Same,
    /// A new namespace, with the process as its first.
    New,
    /// The namespace of the process of a pidfd.
    Of(Arc<OwnedFd>),
}

/// A running or finished process. Clones are handles to the same process; dropping the last one kills it.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    pidfd: Arc<KillOnDrop>,
    exit: watch::Receiver<Option<i32>>,
}

/// The pidfd of a process that is killed on drop.
#[derive(Debug)]
struct KillOnDrop(Arc<OwnedFd>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        rustix::process::pidfd_send_signal(&*self.0, Signal::KILL).ok();
    }
}

impl Process {
    /// Starts the command after its steps, on a thread of its own that then waits for it, and passes the outcome to
    /// `started`. `what` names the process in errors.
    ///
    /// The thread is necessary for two reasons: the pid namespace of future children is a property of a thread, and
    /// the kernel takes the death of the thread that forked for the death of the parent (PR_SET_PDEATHSIG).
    pub(crate) fn start(
        mut command: Command,
        steps: Vec<Step>,
        namespace: PidNamespace,
        what: String,
        started: impl FnOnce(Result<Self>) + Send + 'static,
    ) {
        let waiter = thread::Builder::new()
            .name("process-waiter".into())
            .stack_size(WAITER_STACK);
        let started = Arc::new(Mutex::new(Some(started)));
        let in_waiter = started.clone();
        let spawned = waiter.spawn(move || {
            let Some(started) = in_waiter.lock().take() else {
                return;
            };
            let (exit, receiver) = watch::channel(None);
            let result = PreExec::attach(&mut command, steps)
                .map_err(|cause| Error::new(format!("prepare {what}"), cause))
                .and_then(|stage| spawn(&mut command, &stage, &namespace, &what));
            // The command holds the caller's descriptors; readers of the pipes wait until they are closed.
            drop(command);
            let (mut child, pidfd) = match result {
                Ok(spawned) => spawned,
                Err(error) => return started(Err(error)),
            };
            started(Ok(Self {
                pid: child.id(),
                pidfd: Arc::new(KillOnDrop(Arc::new(pidfd))),
                exit: receiver,
            }));
            let code = child.wait().map_or(-1, exit_code);
            exit.send_replace(Some(code));
        });
        if let Err(cause) = spawned
            && let Some(started) = started.lock().take()
        {
            started(Err(Error::new("start a thread", cause)));
        }
    }

    pub(crate) fn pidfd(&self) -> Arc<OwnedFd> {
        self.pidfd.0.clone()
    }

    /// Process id in the caller's pid namespace; for a container, that of its init.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. Does nothing if the process has ended.
    pub fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&*self.pidfd.0, signal).ok();
    }

    /// Kills the process at once; for a container, every process in it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// The exit code, or 128 + signal; `None` while the process runs.
    pub fn exited(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    /// Waits for the process to end: its exit code, or 128 + signal. -1 when the kernel reports neither. Cancel safe.
    pub async fn wait(&self) -> i32 {
        let mut exit = self.exit.clone();
        // The thread sends before it ends; without a value the state of the process is unknown.
        exit.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|code| *code)
            .unwrap_or(-1)
    }
}

fn spawn(
    command: &mut Command,
    stage: &PreExec,
    namespace: &PidNamespace,
    what: &str,
) -> Result<(std::process::Child, OwnedFd)> {
    match namespace {
        PidNamespace::Same => Ok(()),
        PidNamespace::New => crate::pre_exec::unshare(UnshareFlags::NEWPID),
        PidNamespace::Of(process) => {
            // A pidfd gives all namespaces of a process at once; the kernel checks the requested types.
            rustix::thread::move_into_link_name_space(
                process.as_fd(),
                Some(LinkNameSpaceType::ProcessID),
            )
        }
    }
    .map_err(|cause| Error::new(format!("give {what} a process namespace"), cause))?;
    let mut child = command.spawn().map_err(|cause| match stage.failed_step() {
        Some(step) => Error::new(format!("start {what}: {step}"), cause),
        None => Error::new(format!("start {what}"), cause),
    })?;
    let open = || {
        let pid = Pid::from_raw(child.id() as i32).ok_or(io::ErrorKind::InvalidData)?;
        Ok::<_, io::Error>(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
    };
    match open() {
        Ok(pidfd) => Ok((child, pidfd)),
        Err(cause) => {
            child.kill().ok();
            child.wait().ok();
            Err(Error::new(format!("hold on to {what}"), cause))
        }
    }
}

/// The exit code, or 128 + the signal that ended the process, as in shells and Kubernetes.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}
