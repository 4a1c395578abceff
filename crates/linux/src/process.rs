//! Processes started through a [`Stage`](crate::stage::Stage): one keeper thread starts each and waits for it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use tokio::sync::watch;

use crate::stage::{Stage, Step};
use crate::{Error, Result};

/// Small: the thread calls `spawn` and `wait` only. Thousands of containers mean thousands of keepers.
const KEEPER_STACK: usize = 256 * 1024;

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

/// A running or finished process. Clones are handles to the same process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pid: u32,
    handle: Arc<OwnedFd>,
    exit: watch::Receiver<Option<i32>>,
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
        let keeper = thread::Builder::new()
            .name("keeper".into())
            .stack_size(KEEPER_STACK);
        let started = Arc::new(std::sync::Mutex::new(Some(started)));
        let in_keeper = started.clone();
        let spawned = keeper.spawn(move || {
            let Some(started) = in_keeper.lock().expect("held only to take").take() else {
                return;
            };
            let (exit, receiver) = watch::channel(None);
            let result = Stage::attach(&mut command, steps)
                .map_err(|cause| Error::new(format!("prepare {what}"), cause))
                .and_then(|stage| spawn(&mut command, &stage, &namespace, &what));
            // The command holds the caller's descriptors, whose readers wait for their end.
            drop(command);
            let (mut child, handle) = match result {
                Ok(spawned) => spawned,
                Err(error) => return started(Err(error)),
            };
            started(Ok(Self {
                pid: child.id(),
                handle: Arc::new(handle),
                exit: receiver,
            }));
            let code = child.wait().map_or(-1, exit_code);
            exit.send_replace(Some(code));
        });
        if let Err(cause) = spawned
            && let Some(started) = started.lock().expect("held only to take").take()
        {
            started(Err(Error::new("start a thread", cause)));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The pidfd.
    pub(crate) fn handle(&self) -> Arc<OwnedFd> {
        self.handle.clone()
    }

    /// Sends a signal; a process that has ended already is not an error.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(self.handle.as_fd(), signal).ok();
    }

    pub(crate) fn exited(&self) -> Option<i32> {
        *self.exit.borrow()
    }

    pub(crate) async fn wait(&self) -> i32 {
        let mut exit = self.exit.clone();
        // The keeper sends before it ends; if it is gone without, the process is beyond our reach.
        exit.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|code| *code)
            .unwrap_or(-1)
    }
}

fn spawn(
    command: &mut Command,
    stage: &Stage,
    namespace: &PidNamespace,
    what: &str,
) -> Result<(std::process::Child, OwnedFd)> {
    match namespace {
        PidNamespace::Same => Ok(()),
        PidNamespace::New => crate::stage::unshare(UnshareFlags::NEWPID),
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
        Ok(handle) => Ok((child, handle)),
        Err(cause) => {
            child.kill().ok();
            child.wait().ok();
            Err(Error::new(format!("hold on to {what}"), cause))
        }
    }
}

/// As shells and Kubernetes tell it: the exit code, or 128 + the signal that ended the process.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}
