//! Closed-loop load: each connection sends its next request after the answer to the last one.

use crate::http::Caller;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::task::JoinSet;

pub(crate) const CONNECTIONS: usize = 32;

pub(crate) struct Load {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    connections: JoinSet<std::io::Result<()>>,
}

pub(crate) fn start(at: SocketAddr) -> Load {
    let (count, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (count, stop) = (count.clone(), stop.clone());
        connections.spawn(async move {
            let mut caller = Caller::connect(at, "hop.bench").await?;
            while !stop.load(Ordering::Relaxed) {
                caller.call().await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    Load {
        count,
        stop,
        connections,
    }
}

impl Load {
    /// Answered requests so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Stops the load; the number of connections that failed.
    pub(crate) async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.connections.join_all().await;
        ended.iter().filter(|ended| ended.is_err()).count()
    }
}
