//! The process's budget of file descriptors, shared between clients and upstreams.
//!
//! Without a budget, clients that only connect would leave no descriptor for upstream connections, the control plane
//! and the admin port, and every accept would fail. Clients are refused first: the last eighth is reserved for
//! upstream connections, which complete requests in flight, and [`RESERVED`] descriptors for everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors for files, epoll instances, listeners, the control plane, name lookups and the admin port.
const RESERVED: usize = 128;
/// Minimum streams of one HTTP/2 connection. It may otherwise have streams for an eighth of the descriptors, since
/// each may need an upstream connection of its own.
const MIN_STREAMS: usize = 100;

#[derive(Debug)]
pub(crate) struct Descriptors {
    open: AtomicUsize,
    downstream_limit: usize,
    limit: usize,
    streams_per_connection: u32,
}

/// One descriptor of the budget, returned on drop.
#[derive(Debug)]
pub(crate) struct Descriptor(Arc<Descriptors>);

impl Descriptors {
    /// A budget for a process that may have `max_open_files` open.
    pub(crate) fn new(max_open_files: usize) -> Arc<Self> {
        let limit = max_open_files - RESERVED.min(max_open_files / 4);
        let streams = (max_open_files / 8).max(MIN_STREAMS);
        Arc::new(Self {
            open: AtomicUsize::new(0),
            downstream_limit: limit - limit / 8,
            limit,
            streams_per_connection: u32::try_from(streams).unwrap_or(u32::MAX),
        })
    }

    /// A descriptor for a client connection; `None` when it must be refused.
    pub(crate) fn downstream(self: &Arc<Self>) -> Option<Descriptor> {
        self.take(self.downstream_limit)
    }

    /// A descriptor for an upstream connection; `None` when it must be refused.
    pub(crate) fn upstream(self: &Arc<Self>) -> Option<Descriptor> {
        self.take(self.limit)
    }

    /// Maximum open streams of one client's HTTP/2 connection, whatever the configuration permits.
    pub(crate) fn streams_per_connection(&self) -> u32 {
        self.streams_per_connection
    }

    fn take(self: &Arc<Self>, limit: usize) -> Option<Descriptor> {
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < limit).then_some(open + 1)
            })
            .ok()
            .map(|_| Descriptor(self.clone()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `RLIMIT_NOFILE` of this process.
pub(crate) fn max_open_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX / 2, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX / 2)
    })
}

/// Raises the soft limit of open files to the hard limit, as servers do: the soft one is kept low for programs that
/// use `select`. A failure keeps the limit.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files (ulimit -n)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_refused_before_upstreams() {
        let budget = Descriptors::new(400);
        let mut clients: Vec<_> = std::iter::from_fn(|| budget.downstream()).collect();
        assert_eq!(clients.len(), 263);
        let upstreams: Vec<_> = std::iter::from_fn(|| budget.upstream()).collect();
        assert_eq!(upstreams.len(), 37);
        clients.truncate(230);
        assert!(budget.downstream().is_none(), "267 are open");
        drop(upstreams);
        assert!(budget.downstream().is_some());
    }

    #[test]
    fn streams_follow_the_limit_of_open_files() {
        for (files, streams) in [(256, 100), (1024, 128), (4096, 512)] {
            assert_eq!(Descriptors::new(files).streams_per_connection(), streams);
        }
    }
}
