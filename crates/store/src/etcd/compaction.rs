//! Compaction of old etcd revisions, which otherwise fill etcd's quota until it refuses writes. Only the leader for
//! this work compacts.

use super::{
    campaign::campaign,
    client::{CallError, Member},
    layout::Keys,
    options::Options,
    proto::RangeRequest,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// The interval of compactions. A replica that was disconnected for less time catches up by the watch; after longer it
/// loads the full state.
const RETENTION: Duration = Duration::from_secs(300);

/// Runs until the sender of `ended` is dropped, then resigns.
pub(super) async fn run(options: Arc<Options>, ended: oneshot::Receiver<()>) {
    let election = campaign(options.clone(), "compaction");
    let ended = async { drop(ended.await) };
    election.run(ended, |_| compact(options.clone())).await;
}

async fn compact(options: Arc<Options>) {
    let keys = Keys::new(&options.prefix);
    let mut old = None;
    loop {
        match compact_once(&options, &keys, old).await {
            Ok(now) => old = Some(now),
            Err(failure) => tracing::debug!(%failure, "etcd was not compacted"),
        }
        tokio::time::sleep(RETENTION).await;
    }
}

/// Compacts revisions before `old` through the first member that answers; returns the current revision.
async fn compact_once(options: &Options, keys: &Keys, old: Option<i64>) -> Result<i64, CallError> {
    let mut last = CallError::Lost("there are no members".into());
    for endpoint in &options.endpoints {
        match compact_through(options, keys, old, endpoint).await {
            Err(failure) => last = failure,
            done => return done,
        }
    }
    Err(last)
}

async fn compact_through(
    options: &Options,
    keys: &Keys,
    old: Option<i64>,
    endpoint: &str,
) -> Result<i64, CallError> {
    let member = Member::connect(options, endpoint).await?;
    if let Some(old) = old {
        match member.compact(old).await {
            // The revision is compacted already, for example by etcd's own auto-compaction.
            Err(failure) if failure.is_compacted() => {}
            other => other?,
        }
    }
    let answer = member.range(RangeRequest::key(keys.head())).await?;
    Ok(answer.header.map_or(0, |header| header.revision))
}
