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

/// Small: the thread calls `spawn` and `wait` only. Thousands of containers mean thousands of such threads.
const WAITER_STACK: usize = 256 * 1024;

/// The pid namespace that a new process starts in.
#[derive(Clone, Debug)]
pub(crate) enum PidNamespace {
    /// The caller's.
    Same,
    /// A new one, whose first process it is.
    New,
    /// That of the process behind a pidfd.
    Of(Arc<OwnedFd>),
}

/// A running or finished process. Clones are handles to the same process; the last one that is dropped kills it.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    pidfd: Arc<Killed>,
    exit: watch::Receiver<Option<i32>>,
}

/// The pidfd of a process that does not outlive it.
#[derive(Debug)]
struct Killed(Arc<OwnedFd>);

impl Drop for Killed {
    fn drop(&mut self) {
        rustix::process::pidfd_send_signal(&*self.0, Signal::KILL).ok();
    }
}

impl Process {
    /// Starts the command after its steps, on a thread of its own that then waits for it, and passes the outcome to
    /// `started`. `what` names the process in errors.
    ///
    /// A thread of its own for two reasons: the pid namespace of future children is a property of a thread, and the
    /// kernel takes the death of the thread that forked for the death of the parent (PR_SET_PDEATHSIG).
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
            // The command holds the caller's descriptors, whose readers wait for their end.
            drop(command);
            let (mut child, pidfd) = match result {
                Ok(spawned) => spawned,
                Err(error) => return started(Err(error)),
            };
            started(Ok(Self {
                pid: child.id(),
                pidfd: Arc::new(Killed(Arc::new(pidfd))),
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

    /// Process id in the caller's pid namespace; of a container, that of its init.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. Nothing happens if the process has ended.
    pub fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&*self.pidfd.0, signal).ok();
    }

    /// Kills the process at once; of a container, every process in it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// How the process ended, if it has: its exit code, or 128 + the signal that ended it.
    pub fn exited(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    /// Waits for the process to end: its exit code, or 128 + the signal that ended it. -1 where the kernel tells
    /// neither. Cancel safe.
    pub async fn wait(&self) -> i32 {
        let mut exit = self.exit.clone();
        // The thread sends before it ends; if it is gone without, the process is beyond our reach.
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
            // A pidfd gives all namespaces of a process at once; the kernel checks the type it is asked for.
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

/// As shells and Kubernetes have it: the exit code, or 128 + the signal that ended the process.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}
