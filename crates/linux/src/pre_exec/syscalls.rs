//! System calls without a safe form in rustix.
//!
//! Unsafe is allowed in this file alone. Everything here runs in a forked child that has a single thread, except
//! [`before_exec`], which merely registers the closure. The functions that a child calls use no memory but their
//! arguments and their stack.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::{CapabilitySet, UnshareFlags};

/// Runs `work` in the command's children between fork and exec.
///
/// Invariant: `work` only makes system calls on memory prepared before; every caller in this crate passes the loop over
/// [`Step`](super::Step)s.
pub(crate) fn before_exec(
    command: &mut Command,
    work: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: by the invariant above, the closure is async-signal-safe.
    unsafe { command.pre_exec(work) };
}

pub(crate) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: unsafe only for UnshareFlags::FILES, which would pull descriptors from under other threads. It is never
    // passed.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

pub(super) fn standard_input() -> BorrowedFd<'static> {
    // SAFETY: Command opens descriptor 0 for every child before this runs, and nothing closes it.
    unsafe { BorrowedFd::borrow_raw(0) }
}

pub(super) fn keep_across_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: changes a flag of a descriptor number; an invalid number is an error.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })
}

/// Makes the mounts at and below a path read-only.
pub(super) fn set_read_only(at: &CStr) -> io::Result<()> {
    set_attributes(at, libc::AT_RECURSIVE, libc::MOUNT_ATTR_RDONLY, 0)
}

/// Makes the mounts at and below a path read-only, and disables device files in them.
pub(super) fn protect_tree(at: &CStr) -> io::Result<()> {
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV;
    set_attributes(at, libc::AT_RECURSIVE, set, 0)
}

/// Makes the working directory's own mount read-only, or writable again.
pub(super) fn set_root_read_only(read_only: bool) -> io::Result<()> {
    match read_only {
        true => set_attributes(c".", 0, libc::MOUNT_ATTR_RDONLY, 0),
        false => set_attributes(c".", 0, 0, libc::MOUNT_ATTR_RDONLY),
    }
}

fn set_attributes(at: &CStr, flags: libc::c_int, set: u64, clear: u64) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads a C string and a structure of the size that is passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result as i32)
}

pub(super) fn bound_capabilities(kept: CapabilitySet) -> io::Result<()> {
    for capability in 0..64 {
        if kept.bits() & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: takes plain numbers.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            // The kernel has no capability of this number, nor any higher one.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Forks. Returns in the child; the parent never returns, but becomes a minimal init: it forwards signals to the
/// child, reaps every orphan, and exits with the child's exit code (128 + signal if one killed it).
pub(super) fn fork_and_watch() -> io::Result<()> {
    // SAFETY: a plain fork. The raw system call, because the C library's fork takes locks that a thread of the original
    // process may have held. The child never uses what the C library remembers about its thread id.
    let child = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(libc::SIGCHLD),
            0_u64,
            0_u64,
            0_u64,
            0_u64,
        )
    } as libc::pid_t;
    match child {
        0 => Ok(()),
        ..0 => Err(io::Error::last_os_error()),
        child => watch(child),
    }
}

/// Gives every signal its default action. KILL and STOP have no other.
pub(super) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: installs no handler; numbers that cannot be changed are an error without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn watch(child: libc::pid_t) -> ! {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by sigfillset before its use; handlers are reset because those of the original
    // process would run here; all descriptors are closed because nothing here uses one, while readers of pipes and the
    // spawning parent wait for their end.
    let all = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        let all = all.assume_init();
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
        reset_signals();
        libc::prctl(libc::PR_SET_NAME, c"tombolo-init".as_ptr());
        libc::syscall(libc::SYS_close_range, 0_u64, u64::from(u32::MAX), 0_u64);
        all
    };
    loop {
        loop {
            let mut status = 0;
            // SAFETY: the kernel writes the status where it is told to.
            let reaped = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if reaped == child {
                let code = if libc::WIFSIGNALED(status) {
                    128 + libc::WTERMSIG(status)
                } else {
                    libc::WEXITSTATUS(status)
                };
                // SAFETY: ends the process at once, without running what the original process registered.
                unsafe { libc::_exit(code) };
            }
            if reaped <= 0 {
                break;
            }
        }
        // SAFETY: the set is initialised; no information about the signal is asked for.
        let signal = unsafe { libc::sigwaitinfo(&raw const all, std::ptr::null_mut()) };
        if signal > 0 && signal != libc::SIGCHLD {
            // SAFETY: plain numbers; the child is ours and not yet reaped, so its number is not reused.
            unsafe { libc::kill(child, signal) };
        }
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Takes ownership of a descriptor that this process was started with.
///
/// Invariant: `fd` was kept open across exec for this purpose and nobody else closes it. The only caller passes the
/// number that the parent named, once per process.
pub(crate) fn adopt_descriptor(fd: RawFd) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd as _;
    // SAFETY: changes a flag of a descriptor number; an invalid number is an error.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open, as fcntl just showed, and ours by the invariant above.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}
