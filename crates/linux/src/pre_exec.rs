//! The steps of a new process between fork and exec: a list of system calls, prepared before the fork.
//!
//! After a fork of a process with several threads, only async-signal-safe work is allowed: no allocation, no lock. So
//! every path and every byte is allocated before the fork as a [`Step`], and a step only passes it to the kernel.
//! Rejected: re-executing a helper program, which needs a hook in the `main` of every program that uses this crate.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

mod syscalls;

pub(crate) use syscalls::{adopt_descriptor, before_exec, unshare};

/// One operation in the new process. Relative paths of the mount steps are below the new root (see
/// [`Step::NewRoot`]).
#[derive(Debug)]
pub(crate) enum Step {
    /// Moves into new namespaces of these kinds.
    Unshare(UnshareFlags),
    /// Enters a network namespace.
    EnterNetns(Arc<OwnedFd>),
    /// Enters these namespaces of the process of a pidfd.
    EnterNamespaces(Arc<OwnedFd>, ThreadNameSpaceType),
    /// Writes an existing file, in one write as `/proc` requires.
    Overwrite { path: CString, bytes: Vec<u8> },
    /// Makes the kernel kill the process when its parent dies. With a parent given: fails if it has died already.
    DieWithParent(Option<u32>),
    /// Forks: the child continues with the next step; the parent forwards signals to it and exits when it exits.
    Fork,
    /// Starts a new session, which the terminal's signals do not reach, and resets every signal to its default
    /// action: a shell that starts this process in the background sets SIGINT to be ignored, and programs inherit
    /// that.
    NewSession,
    /// Makes standard input the controlling terminal.
    TakeTerminal,
    /// Sets the host name (needs a UTS namespace of its own).
    HostName(Vec<u8>),
    /// Stops the propagation of mounts to and from other mount namespaces.
    PrivateMounts,
    /// Mounts an empty tmpfs over `/` and makes it the working directory. Absolute paths still mean the old root.
    NewRoot,
    /// Creates a directory (and sets its mode) unless it exists.
    Directory { at: CString, mode: u32 },
    /// Creates an empty file unless it exists.
    EmptyFile { at: CString },
    /// Creates a symbolic link.
    Link { at: CString, target: CString },
    /// Creates a file with these bytes.
    File {
        at: CString,
        bytes: Vec<u8>,
        mode: u32,
    },
    /// Removes a file.
    Remove { at: CString },
    /// Binds `source`, with everything mounted below it, to `at`.
    Bind { source: CString, at: CString },
    /// Like `Bind`, for a source that may have vanished or be inaccessible to this user: then `at` stays empty.
    BindIfThere { source: CString, at: CString },
    /// Mounts an empty tmpfs.
    Tmpfs { at: CString },
    /// Mounts the proc file system of this pid namespace; if the kernel forbids that, binds the parent's.
    Proc { at: CString },
    /// Mounts a devpts instance, unless the kernel forbids that.
    Terminals { at: CString },
    /// Makes the mounts at and below `at` read-only.
    ReadOnly { at: CString },
    /// Makes `at` itself read-only, if it exists.
    ReadOnlyIfThere { at: CString },
    /// Makes every mount of the new root read-only and without devices, except the new root itself.
    Protect,
    /// Makes the new root itself read-only.
    ProtectRoot,
    /// Makes the new root the root and unmounts the old one.
    Pivot,
    /// Drops every capability outside this set permanently, even for root.
    LimitCapabilities(rustix::thread::CapabilitySet),
    /// Sets no_new_privs: executing a file never adds privileges.
    NoNewPrivileges,
    /// Changes to this user and group, without other groups.
    SetUser { uid: u32, gid: u32 },
    /// Changes the working directory.
    ChangeDirectory { path: CString },
    /// Keeps a descriptor open across exec.
    KeepOpen(RawFd),
}

impl Step {
    /// The step in an error message, after "cannot".
    fn describe(&self) -> String {
        let at = |verb: &str, path: &CStr| {
            format!("{verb} /{}", path.to_string_lossy().trim_start_matches('/'))
        };
        match self {
            Self::Unshare(flags) if flags.contains(UnshareFlags::NEWUSER) => {
                "make a user namespace and others in it".into()
            }
            Self::Unshare(_) => "make namespaces".into(),
            Self::EnterNetns(_) => "enter the pod's network namespace".into(),
            Self::EnterNamespaces(..) => "enter the container's namespaces".into(),
            Self::Overwrite { path, .. } => at("write", path),
            Self::DieWithParent(_) => "tie the process to its parent".into(),
            Self::Fork => "fork".into(),
            Self::NewSession => "start a session".into(),
            Self::TakeTerminal => "take the terminal".into(),
            Self::HostName(_) => "set the host name".into(),
            Self::PrivateMounts => "make mounts private".into(),
            Self::NewRoot => "mount a new root".into(),
            Self::Directory { at: path, .. } => at("make directory", path),
            Self::EmptyFile { at: path } | Self::File { at: path, .. } => at("make file", path),
            Self::Link { at: path, .. } => at("make link", path),
            Self::Remove { at: path } => at("remove", path),
            Self::Bind { source, at: path } | Self::BindIfThere { source, at: path } => {
                format!(
                    "mount {} at /{}",
                    source.to_string_lossy(),
                    path.to_string_lossy()
                )
            }
            Self::Tmpfs { at: path } => at("mount a tmpfs at", path),
            Self::Proc { at: path } => at("mount processes at", path),
            Self::Terminals { at: path } => at("mount terminals at", path),
            Self::ReadOnly { at: path } | Self::ReadOnlyIfThere { at: path } => {
                at("make read-only", path)
            }
            Self::Protect | Self::ProtectRoot => {
                "make the file system read-only (Linux 5.12 or newer)".into()
            }
            Self::Pivot => "change to the new root".into(),
            Self::LimitCapabilities(_) => "limit capabilities".into(),
            Self::NoNewPrivileges => "forbid new privileges".into(),
            Self::SetUser { uid, gid } => format!("become user {uid} and group {gid}"),
            Self::ChangeDirectory { path } => {
                format!("change to directory {}", path.to_string_lossy())
            }
            Self::KeepOpen(_) => "keep a descriptor".into(),
        }
    }

    /// Runs in the forked child: only system calls on prepared bytes.
    fn run(&self) -> io::Result<()> {
        match self {
            Self::Unshare(flags) => syscalls::unshare(*flags)?,
            Self::EnterNetns(fd) => {
                rustix::thread::move_into_link_name_space(
                    fd.as_fd(),
                    Some(LinkNameSpaceType::Network),
                )?;
            }
            Self::EnterNamespaces(fd, kinds) => {
                rustix::thread::move_into_thread_name_spaces(fd.as_fd(), *kinds)?
            }
            Self::Overwrite { path, bytes } => {
                let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                write_all(file.as_fd(), bytes)?;
            }
            Self::DieWithParent(parent) => {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                let actual =
                    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
                if parent.is_some_and(|expected| expected != actual) {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
            }
            Self::Fork => syscalls::fork_and_watch()?,
            Self::NewSession => {
                syscalls::reset_signals();
                rustix::process::setsid()?;
            }
            Self::TakeTerminal => rustix::process::ioctl_tiocsctty(syscalls::standard_input())?,
            Self::HostName(name) => rustix::system::sethostname(name)?,
            Self::PrivateMounts => {
                rustix::mount::mount_change(
                    c"/",
                    MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
                )?;
            }
            Self::NewRoot => new_root()?,
            Self::Directory { at, mode } => {
                exists_is_fine(rustix::fs::mkdir(at, Mode::RWXU))?;
                // Not left to mkdir, which applies the umask. A directory of another owner keeps its mode.
                rustix::fs::chmod(at, Mode::from_raw_mode(*mode)).ok();
            }
            Self::EmptyFile { at } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                exists_is_fine(rustix::fs::open(at, flags, Mode::from_raw_mode(0o644)).map(drop))?;
            }
            Self::Link { at, target } => rustix::fs::symlink(target, at)?,
            Self::File { at, bytes, mode } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = rustix::fs::open(at, flags, Mode::RUSR | Mode::WUSR)?;
                write_all(file.as_fd(), bytes)?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(*mode))?;
            }
            Self::Remove { at } => rustix::fs::unlink(at)?,
            Self::Bind { source, at } => rustix::mount::mount_bind_recursive(source, at)?,
            Self::BindIfThere { source, at } => {
                match rustix::mount::mount_bind_recursive(source, at) {
                    Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => {}
                    result => result?,
                }
            }
            Self::Tmpfs { at } => {
                rustix::mount::mount(
                    c"tmpfs",
                    at,
                    c"tmpfs",
                    MountFlags::NOSUID | MountFlags::NODEV,
                    c"mode=0755",
                )?;
            }
            Self::Proc { at } => {
                let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                if rustix::mount::mount(c"proc", at, c"proc", flags, None).is_err() {
                    // Inside a container with a masked /proc. The parent's shows more processes, but works.
                    rustix::mount::mount_bind_recursive(c"/proc", at)?;
                }
            }
            Self::Terminals { at } => {
                let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
                rustix::mount::mount(
                    c"devpts",
                    at,
                    c"devpts",
                    flags,
                    c"newinstance,ptmxmode=0666",
                )
                .ok();
            }
            Self::ReadOnly { at } => syscalls::set_read_only(at)?,
            Self::ReadOnlyIfThere { at } => match rustix::mount::mount_bind_recursive(at, at) {
                Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => {}
                result => {
                    result?;
                    syscalls::set_read_only(at)?;
                }
            },
            Self::Protect => {
                syscalls::protect_tree(c".")?;
                syscalls::set_root_read_only(false)?;
            }
            Self::ProtectRoot => syscalls::set_root_read_only(true)?,
            Self::Pivot => {
                rustix::process::pivot_root(c".", c".")?;
                rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
                rustix::process::chdir(c"/")?;
            }
            Self::LimitCapabilities(kept) => {
                syscalls::bound_capabilities(*kept)?;
                rustix::thread::clear_ambient_capability_set().ok();
                let mut sets = rustix::thread::capabilities(None)?;
                sets.inheritable = rustix::thread::CapabilitySet::empty();
                rustix::thread::set_capabilities(None, sets)?;
            }
            Self::NoNewPrivileges => rustix::thread::set_no_new_privs(true)?,
            Self::SetUser { uid, gid } => become_user(*uid, *gid)?,
            Self::ChangeDirectory { path } => rustix::process::chdir(path)?,
            Self::KeepOpen(fd) => syscalls::keep_across_exec(*fd)?,
        }
        Ok(())
    }
}

/// The steps of one process, attached to its command.
pub(crate) struct PreExec {
    steps: Arc<[Step]>,
    /// The child writes the index of the failed step; std only passes on the error number.
    report: OwnedFd,
}

impl PreExec {
    /// Makes children of the command run the steps before they exec.
    pub(crate) fn attach(command: &mut Command, steps: Vec<Step>) -> io::Result<Self> {
        let steps: Arc<[Step]> = steps.into();
        let (report, failing) = rustix::pipe::pipe_with(
            rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK,
        )?;
        let in_child = steps.clone();
        syscalls::before_exec(command, move || {
            for (number, step) in in_child.iter().enumerate() {
                if let Err(error) = step.run() {
                    rustix::io::write(&failing, &(number as u32).to_ne_bytes()).ok();
                    return Err(error);
                }
            }
            Ok(())
        });
        Ok(Self { steps, report })
    }

    /// After a failed spawn: the failed step, or `None` if exec failed.
    pub(crate) fn failed_step(&self) -> Option<String> {
        let mut number = [0; 4];
        (rustix::io::read(&self.report, &mut number) == Ok(4))
            .then(|| {
                self.steps
                    .get(u32::from_ne_bytes(number) as usize)
                    .map(Step::describe)
            })
            .flatten()
    }
}

/// A path for the kernel. Fails on a path with a zero byte.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn new_root() -> rustix::io::Result<()> {
    let file_system = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(file_system.as_fd(), c"mode", c"0755")?;
    rustix::mount::fsconfig_create(file_system.as_fd())?;
    let root = rustix::mount::fsmount(
        file_system.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    rustix::mount::move_mount(
        root.as_fd(),
        c"",
        CWD,
        c"/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    rustix::process::fchdir(&root)
}

fn become_user(uid: u32, gid: u32) -> rustix::io::Result<()> {
    use rustix::process::{Gid, Uid};
    if (uid, gid)
        == (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        )
    {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    // These change the calling thread only, which after a fork is the whole process.
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn exists_is_fine(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(fd, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}
