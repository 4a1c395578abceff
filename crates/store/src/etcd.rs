//! A store in an etcd cluster, shared by several replicas.
//!
//! Each record is a key. One more key, the head, is written with every change: it has the revision, and the transaction
//! of a write succeeds only if the head is still the one on which the write is based (compare and swap). So all writes
//! of all replicas form one sequence, each based on the result of the one before. Every replica follows that sequence
//! by one watch, which delivers the head and the records of a write together. See [`layout`] for the
//! keys, [`replica`] for the sequence, docs/decisions/0009 for the reasons.

mod bulk_replace;
mod campaign;
mod client;
mod compaction;
#[doc(hidden)]
pub mod fuzzing;
mod layout;
mod list_and_watch;
mod options;
mod proto;
mod replica;
mod secret;
mod write;
mod write_pacer;

pub(crate) use campaign::campaign;
pub use options::{Options, Tls};
pub(crate) use secret::secret;

use crate::{
    local_engine::OpenError,
    store::{Condition, Published},
    write_request::{self, WriteRequest},
};
use layout::Keys;
use list_and_watch::{Connected, connect};
use replica::Replica;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use tombolo_model::View;

/// The timeout of opening the store.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Loads the state and starts the replica, on a thread with its own runtime: a busy runtime of the caller must
/// not delay keep-alives of leases.
pub(crate) async fn start(
    options: Arc<Options>,
    queue: mpsc::Receiver<WriteRequest>,
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
    queue: mpsc::Receiver<WriteRequest>,
    condition: watch::Sender<Condition>,
    opened: oneshot::Sender<Result<Arc<Published>, OpenError>>,
) {
    let keys = Keys::new(&options.prefix);
    let condition = Arc::new(condition);
    // The first member is random, so that replicas that start together do not all use the same one.
    let first = write_request::entropy().next_u64() as usize;
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
        unreachable!("without a position to resume from, the state is loaded");
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
    // An error means that the task panicked, which is logged; its lease expires.
    let _ = compaction.await;
    published.watchers.close();
}
