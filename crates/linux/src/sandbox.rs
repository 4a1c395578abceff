//! The sandbox: a process tree in namespaces of its own that ends, as a whole, with the process that launched it.
//!
//! ```text
//! launcher ── guard ── init (pid 1) ── runtime ── containers
//! ```
//!
//! The guard and the init are forks that only wait. The kernel kills the guard when the launcher dies (however it dies),
//! the init when the guard dies, and everything in the pid namespace when the init dies; network namespaces, links,
//! mounts and rules have no other holders and vanish too.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::{env, fmt, fs, io};

use rustix::thread::UnshareFlags;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::Attempt as _;
use crate::host_link::{HostEnd, HostLink, pair};
use crate::pre_exec::{PreExec, Step};
use crate::process::{PidNamespace, Process};
use crate::rootfs::{Mount, MountSource, View};
use crate::{Error, Result};

/// The directory of the runtime's state. It is not visible in containers.
pub(crate) const STATE_DIRECTORY: &str = "/.tombolo";
/// The variable with the mode and the descriptor of the host link, for the process inside: "rootless:7".
const ENVIRONMENT: &str = "TOMBOLO_SANDBOX";
/// The sidecar's user id. If it does not exist, this is a user namespace with one user.
const SIDECAR_USER: u32 = 1337;

/// The privileges of the launcher, which decide which users exist in the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Launched by root: every user id exists inside.
    Root,
    /// Launched in a user namespace: the launching user is root inside, and no other user exists.
    Rootless,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
        })
    }
}

/// The program of a sandbox.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// The arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Variables added to the launcher's environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Program {
    /// The running executable, with other arguments.
    ///
    /// # Errors
    /// The path of the executable is unknown.
    pub fn this(args: impl IntoIterator<Item = impl Into<OsString>>) -> io::Result<Self> {
        let args = args.into_iter().map(Into::into).collect();
        Ok(Self {
            path: env::current_exe()?,
            args,
            env: Vec::new(),
        })
    }
}

/// The launcher's handle to a sandbox. Dropping it kills everything inside.
#[derive(Debug)]
pub struct Sandbox {
    /// Killed when the last handle is dropped.
    guard: Process,
    host_end: HostEnd,
}

/// The sandbox as seen by the program in it.
#[derive(Debug)]
pub struct Inside {
    /// The mode, which decides which users exist.
    pub mode: Mode,
    /// The link to the host's network and terminal.
    pub host: HostLink,
    /// An empty directory in memory that vanishes with the sandbox. It is not visible in containers.
    pub state_dir: PathBuf,
}

/// The mode that this machine supports, found by launching a program that does not exist.
///
/// # Errors
/// The step that the kernel refuses, with a remedy.
pub fn probe() -> Result<Mode> {
    let mut refusal = None;
    if rustix::process::geteuid().is_root() && user_exists(SIDECAR_USER) {
        match dry_run(Mode::Root) {
            Ok(()) => return Ok(Mode::Root),
            Err(error) => refusal = Some(error),
        }
    }
    dry_run(Mode::Rootless)
        .map(|()| Mode::Rootless)
        .map_err(|error| refusal.unwrap_or(error).hint(advice()))
}

/// Runs all steps of a launch in a child, up to the exec of a program that does not exist.
fn dry_run(mode: Mode) -> Result<()> {
    let mut command = Command::new("/.tombolo/probe");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let what = || format!("make a {mode} sandbox");
    let stage = PreExec::attach(&mut command, steps(mode)?).attempt(what)?;
    match (command.spawn(), stage.failed_step()) {
        (Err(error), None) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (Err(error), None) => Err(Error::new(what(), error)),
        (Err(error), Some(step)) => Err(Error::new(format!("{}: {step}", what()), error)),
        (Ok(mut child), _) => {
            child.kill().ok();
            child.wait().ok();
            Ok(())
        }
    }
}

/// Whether this user namespace maps the user id.
fn user_exists(uid: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut numbers = line
            .split_whitespace()
            .map(|number| number.parse::<u64>().unwrap_or(0));
        let (first, length) = (numbers.next().unwrap_or(0), numbers.nth(1).unwrap_or(0));
        (first..first.saturating_add(length)).contains(&u64::from(uid))
    })
}

/// The remedy for a kernel that refuses user namespaces.
fn advice() -> &'static str {
    let setting = |name: &str| {
        fs::read_to_string(format!("/proc/sys/{name}")).map(|value| value.trim().to_owned())
    };
    let is = |name: &str, value: &str| setting(name).is_ok_and(|found| found == value);
    if is("user/max_user_namespaces", "0") {
        "user namespaces are switched off: run `sysctl -w user.max_user_namespaces=15000` as root, or run this as root"
    } else if is("kernel/unprivileged_userns_clone", "0") {
        "user namespaces are forbidden for ordinary users: run `sysctl -w kernel.unprivileged_userns_clone=1` as root, or run this as root"
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor forbids user namespaces for ordinary users: run `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` as root, or run this as root"
    } else {
        "run this as root, or allow unprivileged user namespaces; inside a container, start that one with --privileged"
    }
}

/// The steps from the launcher's child to the runtime.
fn steps(mode: Mode) -> Result<Vec<Step>> {
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    let mut steps = vec![Step::NewSession];
    match mode {
        Mode::Root => steps.push(Step::Unshare(flags)),
        Mode::Rootless => {
            flags |= UnshareFlags::NEWUSER;
            let uid = rustix::process::geteuid().as_raw();
            let gid = rustix::process::getegid().as_raw();
            steps.push(Step::Unshare(flags));
            for (path, text) in [
                (c"/proc/self/setgroups", "deny".to_owned()),
                (c"/proc/self/uid_map", format!("0 {uid} 1")),
                (c"/proc/self/gid_map", format!("0 {gid} 1")),
            ] {
                steps.push(Step::Overwrite {
                    path: path.to_owned(),
                    bytes: text.into_bytes(),
                });
            }
        }
    }
    // After the change of credentials, which would reset it.
    steps.push(Step::DieWithParent(Some(std::process::id())));
    steps.extend([Step::Fork, Step::DieWithParent(None)]);
    let state = Mount {
        at: STATE_DIRECTORY.into(),
        source: MountSource::Scratch,
        read_only: false,
    };
    steps.extend(crate::rootfs::steps(&[state], &[], View::Whole)?);
    steps.extend([Step::Fork, Step::NewSession]);
    Ok(steps)
}

impl Sandbox {
    /// Launches the program in a sandbox; the program must call [`enter`]. It gets the `listeners` when it asks to
    /// listen on their addresses. `print` is called for each line of [`HostLink::print`]. Standard output and error
    /// are shared, standard input is empty.
    ///
    /// # Errors
    /// The program or the step that failed.
    pub fn launch(
        program: Program,
        mode: Mode,
        listeners: Vec<TcpListener>,
        print: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self> {
        let (host_socket, inner_socket) = pair().attempt(|| "make the host link".into())?;
        let mut steps = steps(mode)?;
        steps.push(Step::KeepOpen(inner_socket.as_raw_fd()));
        let mut command = Command::new(&program.path);
        command
            .args(&program.args)
            .arg0(program.path.as_os_str())
            .envs(program.env)
            .env(ENVIRONMENT, format!("{mode}:{}", inner_socket.as_raw_fd()))
            .stdin(Stdio::null());
        let (sender, receiver) = mpsc::channel();
        let what = format!("the {mode} sandbox");
        Process::start(command, steps, PidNamespace::Same, what, move |result| {
            sender.send(result).ok();
        });
        let ended = || {
            Err(Error::new(
                "start the sandbox",
                io::Error::other("the thread that starts it ended"),
            ))
        };
        let guard = receiver.recv().unwrap_or_else(|_| ended())?;
        drop(inner_socket);
        let host_end = HostEnd::serve(host_socket, guard.pid(), listeners, print)?;
        Ok(Self { guard, host_end })
    }

    /// Asks the runtime to stop: [`HostLink::stop_requested`] resolves there.
    pub fn stop(&self) {
        self.host_end.request_stop();
    }

    /// Kills everything inside at once.
    pub fn kill(&self) {
        self.guard.kill();
    }

    /// Waits for the runtime to end: its exit code, or 128 + signal.
    pub async fn wait(&self) -> i32 {
        self.guard.wait().await
    }

    /// Waits for the runtime to end. The first SIGINT or SIGTERM to this process asks it to stop, the second kills it.
    pub async fn supervise(self) -> i32 {
        let handlers = signal(SignalKind::interrupt())
            .and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
        let Ok((mut interrupt, mut terminate)) = handlers else {
            // Without handlers the default action ends this process, and with it the sandbox.
            return self.wait().await;
        };
        let mut asked = false;
        loop {
            tokio::select! {
                code = self.wait() => return code,
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked {
                self.kill()
            } else {
                self.stop()
            }
            asked = true;
        }
    }
}

/// Called in the launched process: returns the sandbox around it. `None` if it was not launched by
/// [`Sandbox::launch`], or on a second call.
///
/// This process ends when the launcher does, from this call on.
///
/// # Errors
/// The environment variable or its descriptor is invalid.
pub fn enter() -> Option<Result<Inside>> {
    static ENTERED: std::sync::Once = std::sync::Once::new();
    let value = env::var(ENVIRONMENT).ok()?;
    let mut first = false;
    ENTERED.call_once(|| first = true);
    first.then(|| {
        enter_with(&value).attempt(|| format!("enter the sandbox that {ENVIRONMENT}={value} names"))
    })
}

fn enter_with(value: &str) -> io::Result<Inside> {
    let (mode, fd) = value.split_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    let mode = match mode {
        "root" => Mode::Root,
        "rootless" => Mode::Rootless,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let socket =
        crate::pre_exec::adopt_descriptor(fd.parse().map_err(|_| io::ErrorKind::InvalidInput)?)?;
    let state_dir = Path::new(STATE_DIRECTORY).to_path_buf();
    Ok(Inside {
        mode,
        host: HostLink::over(socket)?,
        state_dir,
    })
}
