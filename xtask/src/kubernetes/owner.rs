//! Whose clusters are up: a checkout, and the process in which everything of its clusters runs.
//!
//! The bridge carries it as its alias, so that every checkout on the machine sees it, and a new one can remove what an
//! earlier one, which is gone, has left.

use super::network;
use crate::process::Result;
use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A process and the checkout that started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Process id, as the machine counts them.
    pub(super) pid: u32,
    /// When the process started, in clock ticks after boot: a process id is given again, both together are not.
    started: u64,
    /// `target/kubernetes` of the checkout.
    pub(super) directory: PathBuf,
}

impl Owner {
    /// A process that runs now.
    pub(super) fn of(pid: u32, directory: &Path) -> Result<Self> {
        let (started, _) = read_stat(pid).ok_or_else(|| format!("no process {pid}"))?;
        Ok(Self {
            pid,
            started,
            directory: directory.to_owned(),
        })
    }

    /// The owner of the clusters of this machine; `None` when there are none.
    pub(super) fn of_machine() -> Option<Self> {
        let alias = format!("/sys/class/net/{}/ifalias", network::BRIDGE);
        fs::read_to_string(alias).ok()?.trim().parse().ok()
    }

    /// Whether the process still runs. One that has ended and that nobody has waited for does not.
    pub(super) fn is_alive(&self) -> bool {
        read_stat(self.pid)
            .is_some_and(|(started, state)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// The first process of the process namespace that `pid` made, as the machine counts them.
    pub(super) fn first_child(&self) -> Option<u32> {
        let pid = self.pid;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = self.directory.display();
        write!(f, "{} {} {directory}", self.pid, self.started)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let mut words = text.splitn(3, ' ');
        let mut next = || words.next().ok_or(());
        Ok(Self {
            pid: next()?.parse().map_err(|_| ())?,
            started: next()?.parse().map_err(|_| ())?,
            directory: next()?.into(),
        })
    }
}

/// The start time and the state of a process, from `/proc/PID/stat` (proc(5)): fields 22 and 3.
fn read_stat(pid: u32) -> Option<(u64, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_it_is_written() {
        let own = Owner::of(std::process::id(), Path::new("/a path/with words")).expect("we run");
        assert!(own.is_alive());
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        assert_eq!("".parse::<Owner>(), Err(()));
        assert_eq!("12 x /".parse::<Owner>(), Err(()));
    }

    #[test]
    fn a_process_id_that_was_given_again_is_not_the_owner() {
        let mut own = Owner::of(std::process::id(), Path::new("/")).expect("we run");
        own.started += 1;
        assert!(!own.is_alive());
    }
}
