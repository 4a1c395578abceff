//! Containers: processes of a pod, each with its own file system, process and host name namespaces.
//!
//! A container's program is the child of a tiny init, the first process of a pid namespace: it forwards signals, reaps
//! orphans, and with it the kernel kills every descendant, however it was started.

use std::ffi::OsString;
use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::thread::{CapabilitySet, ThreadNameSpaceType, UnshareFlags};
use tokio::sync::oneshot;

use crate::netns::Netns;
use crate::pre_exec::{Step, c_path};
use crate::process::PidNamespace;
use crate::rootfs::View;
use crate::{Error, Result};

pub use crate::process::Process;
pub use crate::rootfs::{FileContent, Mount, MountSource};

/// The specification of a container.
#[derive(Debug, Default)]
pub struct ContainerSpec {
    /// Program and arguments. A program without a slash is searched in the PATH of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; `/` by default.
    pub cwd: Option<PathBuf>,
    /// Host name; the caller's by default.
    pub hostname: Option<String>,
    /// Network namespace; the caller's by default.
    pub netns: Option<Netns>,
    /// User and group; root by default. In a rootless sandbox only root exists.
    pub user: Option<User>,
    /// Privileges beyond the rights of the user; none by default.
    pub privileges: Privileges,
    /// Content of `/etc/resolv.conf`; the host's by default.
    pub resolv_conf: Option<Vec<u8>>,
    /// Content of `/etc/hosts`; the host's by default.
    pub hosts: Option<Vec<u8>>,
    /// Volumes.
    pub mounts: Vec<Mount>,
    /// Standard input; `/dev/null` by default.
    pub stdin: Option<OwnedFd>,
    /// Standard output; `/dev/null` by default.
    pub stdout: Option<OwnedFd>,
    /// Standard error; `/dev/null` by default.
    pub stderr: Option<OwnedFd>,
}

/// Numeric user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id, the only one.
    pub gid: u32,
}

/// The specification of a process in a running container.
#[derive(Debug, Default)]
pub struct ExecSpec {
    /// Program and arguments. A program without a slash is searched in the PATH of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; `/` by default.
    pub cwd: Option<PathBuf>,
    /// User and group; root by default. In a rootless sandbox only root exists.
    pub user: Option<User>,
    /// Standard input; `/dev/null` by default.
    pub stdin: Option<OwnedFd>,
    /// Standard output; `/dev/null` by default.
    pub stdout: Option<OwnedFd>,
    /// Standard error; `/dev/null` by default.
    pub stderr: Option<OwnedFd>,
    /// Whether standard input becomes the controlling terminal.
    pub terminal: bool,
}

/// A running or finished container. Clones are handles to the same one; dropping the last one kills it. Dereferences
/// to the process of its program.
#[derive(Clone, Debug)]
pub struct Container {
    process: Process,
    netns: Option<Netns>,
    privileges: Privileges,
}

/// Privileges of a program beyond the rights of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// Capabilities of the root user of the container. No other user has any.
    pub capabilities: CapabilitySet,
    /// Whether executing a file never adds privileges, as set-user-ID programs do.
    pub no_new_privileges: bool,
}

impl Default for Privileges {
    fn default() -> Self {
        Self {
            capabilities: CapabilitySet::empty(),
            no_new_privileges: false,
        }
    }
}

impl Container {
    /// Starts a container. Besides its mounts it sees the files of the host, read-only and without devices. Its
    /// `/dev` has the standard devices, its `/run` is empty. Cancel safe: a container without a handle is killed.
    ///
    /// # Errors
    /// Names the program, the mount or the step that failed; its kind is `NotFound` if the program does not exist.
    pub async fn spawn(spec: ContainerSpec) -> Result<Self> {
        let mut mounts = spec.mounts;
        let name_files = [
            ("/etc/resolv.conf", spec.resolv_conf),
            ("/etc/hosts", spec.hosts),
        ];
        mounts.extend(name_files.into_iter().filter_map(|(at, content)| {
            let source = MountSource::File(FileContent::readable(content?));
            Some(Mount {
                at: at.into(),
                source,
                read_only: false,
            })
        }));
        let mut steps = Vec::new();
        if let Some(netns) = &spec.netns {
            steps.push(Step::EnterNetns(netns.descriptor()));
        }
        steps.push(Step::Unshare(
            UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC,
        ));
        if let Some(hostname) = spec.hostname {
            steps.push(Step::HostName(hostname.into_bytes()));
        }
        steps.extend(crate::rootfs::steps(
            &mounts,
            &[Path::new(crate::sandbox::STATE_DIRECTORY)],
            View::Protected,
        )?);
        steps.extend([Step::Fork, Step::NewSession]);
        finish(&mut steps, spec.privileges, spec.user, spec.cwd.as_deref())?;
        let command = command(&spec.argv, spec.env, [spec.stdin, spec.stdout, spec.stderr])?;
        let process = start(command, steps, PidNamespace::New, &spec.argv)
            .await
            .map_err(|error| explain_user(error, spec.user))?;
        Ok(Self {
            process,
            netns: spec.netns,
            privileges: spec.privileges,
        })
    }

    /// Runs another program in the container. It ends with the container.
    ///
    /// # Errors
    /// Names the program or the step that failed; its kind is `NotFound` if the program does not exist.
    pub async fn exec(&self, spec: ExecSpec) -> Result<Process> {
        let target = self.process.pidfd();
        let mut steps = Vec::new();
        if let Some(netns) = &self.netns {
            steps.push(Step::EnterNetns(netns.descriptor()));
        }
        let kinds = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
        steps.extend([
            Step::EnterNamespaces(target.clone(), kinds),
            Step::NewSession,
        ]);
        if spec.terminal {
            steps.push(Step::TakeTerminal);
        }
        finish(&mut steps, self.privileges, spec.user, spec.cwd.as_deref())?;
        let command = command(&spec.argv, spec.env, [spec.stdin, spec.stdout, spec.stderr])?;
        start(command, steps, PidNamespace::Of(target), &spec.argv)
            .await
            .map_err(|error| explain_user(error, spec.user))
    }
}

impl Deref for Container {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// The last steps, run inside the namespaces. Privileges are dropped at the very end.
fn finish(
    steps: &mut Vec<Step>,
    privileges: Privileges,
    user: Option<User>,
    cwd: Option<&Path>,
) -> Result<()> {
    let cwd = cwd.unwrap_or(Path::new("/"));
    let path = c_path(cwd)
        .map_err(|cause| Error::new(format!("use directory {}", cwd.display()), cause))?;
    steps.push(Step::ChangeDirectory { path });
    steps.push(Step::LimitCapabilities(privileges.capabilities));
    steps.extend(user.map(|user| Step::SetUser {
        uid: user.uid,
        gid: user.gid,
    }));
    if privileges.no_new_privileges {
        steps.push(Step::NoNewPrivileges);
    }
    Ok(())
}

fn command(
    argv: &[OsString],
    env: Vec<(OsString, OsString)>,
    stdio: [Option<OwnedFd>; 3],
) -> Result<Command> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Error::new(
            "start a container without a program",
            io::Error::from(io::ErrorKind::InvalidInput),
        ));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(env);
    let [stdin, stdout, stderr] = stdio.map(|fd| fd.map_or_else(Stdio::null, Stdio::from));
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    Ok(command)
}

async fn start(
    command: Command,
    steps: Vec<Step>,
    namespace: PidNamespace,
    argv: &[OsString],
) -> Result<Process> {
    let what = argv
        .first()
        .map(|program| program.to_string_lossy().into_owned())
        .unwrap_or_default();
    let (sender, receiver) = oneshot::channel();
    Process::start(command, steps, namespace, what.clone(), move |result| {
        // If the caller was cancelled, this drops the last handle, which kills the process.
        sender.send(result).ok();
    });
    let ended = |_| {
        Err(Error::new(
            format!("start {what}"),
            io::Error::other("the thread that starts it ended"),
        ))
    };
    receiver.await.unwrap_or_else(ended)
}

/// Adds a hint to the error for a user that does not exist in the sandbox.
fn explain_user(error: Error, user: Option<User>) -> Error {
    match (user, error.raw_os_error()) {
        (Some(user), Some(libc::EINVAL | libc::EPERM)) if user.uid != 0 || user.gid != 0 => {
            error.hint("in a rootless sandbox root is the only user; leave the user out, or launch as root")
        }
        _ => error,
    }
}
