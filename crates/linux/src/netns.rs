//! Network namespaces, held open by a descriptor: they have no name in `/run/netns`, and the kernel removes them with
//! the last holder.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::Result;
use crate::error::Attempt as _;

/// A network namespace. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Netns(Arc<OwnedFd>);

impl Netns {
    /// Creates a namespace. Its loopback is down.
    ///
    /// # Errors
    /// The kernel refuses: without root, network namespaces need a user namespace.
    pub fn new() -> Result<Self> {
        Ok(Self::new_with(|| ())?.0)
    }

    /// Creates a namespace and runs `first` in it.
    pub(crate) fn new_with<T: Send>(first: impl FnOnce() -> T + Send) -> Result<(Self, T)> {
        on_thread(|| {
            crate::pre_exec::unshare(UnshareFlags::NEWNET)
                .attempt(|| "make a network namespace".into())?;
            Ok((Self::current()?, first()))
        })
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        let file = File::open("/proc/thread-self/ns/net")
            .attempt(|| "open the network namespace".into())?;
        Ok(Self(Arc::new(file.into())))
    }

    /// Runs `work` in the namespace, on a thread of its own. Sockets opened there stay in the namespace, wherever
    /// they are used.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_thread(|| {
            rustix::thread::move_into_link_name_space(
                self.0.as_fd(),
                Some(LinkNameSpaceType::Network),
            )
            .attempt(|| "enter a network namespace".into())?;
            Ok(work())
        })
    }

    /// Makes children of the command start in the namespace.
    pub fn attach(&self, command: &mut Command) {
        let namespace = self.clone();
        crate::pre_exec::before_exec(command, move || {
            let kind = Some(LinkNameSpaceType::Network);
            Ok(rustix::thread::move_into_link_name_space(
                namespace.0.as_fd(),
                kind,
            )?)
        });
    }

    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        self.0.clone()
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `work` on a thread that ends after it: a thread that has changed its namespace must not be reused.
fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
