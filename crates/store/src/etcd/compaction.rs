//! Compaction of old revisions, which otherwise fill etcd's quota until it refuses writes. One replica does it for all.

use super::{
    campaign::campaign,
    client::{CallError, Member},
    layout::Keys,
    options::Options,
    proto::RangeRequest,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// A replica that was away for less long catches up; after longer it loads everything.
const RETENTION: Duration = Duration::from_secs(300);

/// Runs until the sender of `ended` is dropped, and then gives up the lead.
pub(super) async fn run(options: Arc<Options>, ended: oneshot::Receiver<()>) {
    let election = campaign(options.clone(), "compaction");
    let ended = async { drop(ended.await) };
    election.run(ended, |_| compact(options.clone())).await;
}

async fn compact(options: Arc<Options>) {
    let keys = Keys::new(&options.prefix);
    let mut old = None;
    loop {
        match step(&options, &keys, old).await {
            Ok(now) => old = Some(now),
            Err(failure) => tracing::debug!(%failure, "etcd was not compacted"),
        }
        tokio::time::sleep(RETENTION).await;
    }
}

/// Compacts revisions before `old`; returns the current one.
async fn step(options: &Options, keys: &Keys, old: Option<i64>) -> Result<i64, CallError> {
    let mut last = CallError::Lost("there are no members".into());
    for at in &options.endpoints {
        match step_at(options, keys, old, at).await {
            Err(failure) => last = failure,
            done => return done,
        }
    }
    Err(last)
}

async fn step_at(
    options: &Options,
    keys: &Keys,
    old: Option<i64>,
    at: &str,
) -> Result<i64, CallError> {
    let member = Member::connect(options, at).await?;
    if let Some(old) = old {
        match member.compact(old).await {
            // The operator's etcd does it, too.
            Err(failure) if failure.is_compacted() => {}
            other => other?,
        }
    }
    let answer = member.range(RangeRequest::one(keys.head())).await?;
    Ok(answer.header.map_or(0, |header| header.revision))
}
