//! The state in an etcd cluster, shared by several replicas.
//!
//! Each record is a key. One more key, the head, is written with every change: it holds the revision, and
//! a write is made only if the head is still the one on which the write was decided. So all writes of all
//! replicas form one sequence, each decided on the result of the one before. Every replica follows that
//! sequence by one watch, which gives the head and the records of a write at once. See [`layout`] for the
//! keys, [`replica`] for the sequence, docs/decisions/0009 for the reasons.

mod bulk_replace;
mod campaign;
mod client;
mod compaction;
mod connect;
#[doc(hidden)]
pub mod fuzzing;
mod layout;
mod options;
mod proto;
mod replica;
mod write;
mod write_fairness;

pub(crate) use campaign::campaign;
pub use options::{Options, Tls};

use crate::{
    decide::{self, Job},
    local_engine::OpenError,
    store::{Condition, Published},
};
use connect::{Connected, connect};
use layout::Keys;
use replica::Replica;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use tombolo_model::View;

/// Deadline of opening the store.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Loads the state and starts to follow it, on a thread with a runtime of its own: callers that keep
/// theirs busy must not delay what etcd expects in time.
pub(crate) async fn start(
    options: Arc<Options>,
    queue: mpsc::Receiver<Job>,
) -> Result<(Arc<Published>, watch::Receiver<Condition>), OpenError> {
    let (condition, conditions) = watch::channel(Condition::healthy("etcd"));
    let (opened, opening) = oneshot::channel();
    std::thread::Builder::new()
        .name("store-etcd".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the system has room for one more runtime");
            runtime.block_on(run(options, queue, condition, opened));
        })
        .expect("the system has room for one more thread");
    let published = opening.await.expect("the thread answers before it ends")?;
    Ok((published, conditions))
}

async fn run(
    options: Arc<Options>,
    queue: mpsc::Receiver<Job>,
    condition: watch::Sender<Condition>,
    opened: oneshot::Sender<Result<Arc<Published>, OpenError>>,
) {
    let keys = Keys::new(&options.prefix);
    let condition = Arc::new(condition);
    // Replicas that start together do not all ask the same member.
    let first = decide::entropy().next_u64() as usize;
    let search = connect(
        options.clone(),
        keys.clone(),
        None,
        first,
        condition.clone(),
    );
    let Ok(connected) = tokio::time::timeout(OPEN_TIMEOUT, search).await else {
        let problem = condition.borrow().problem.clone();
        let _ = opened.send(Err(OpenError::Cluster {
            cluster: options.to_string(),
            reason: problem.unwrap_or_else(|| "no member answers".into()),
        }));
        return;
    };
    let Connected {
        session,
        loaded: Some(loaded),
        ..
    } = connected
    else {
        unreachable!("without a place to go on from, everything is loaded");
    };
    let published = Published::new(View::default());
    let mut replica = Replica::new(options.clone(), keys, published.clone(), condition, queue);
    if let Err(stale) = replica.adopt(loaded) {
        let (cluster, reason) = (options.to_string(), stale.to_string());
        let _ = opened.send(Err(OpenError::Cluster { cluster, reason }));
        return;
    }
    if opened.send(Ok(published.clone())).is_err() {
        return;
    }
    let (running, ended) = oneshot::channel::<()>();
    let compaction = tokio::spawn(compaction::run(options, ended));
    replica.run(session).await;
    drop(running);
    // An error: it panicked, which is logged; its lease ends by itself.
    let _ = compaction.await;
    published.watchers.close();
}
