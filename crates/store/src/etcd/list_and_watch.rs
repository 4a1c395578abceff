//! List and watch: connects to a member that serves, reads the full state at one revision, and watches from there.

use super::{
    client::{CallError, Member, Watching},
    layout::{Head, Keys, LayoutError},
    options::Options,
    proto::{KeyValue, RangeRequest, WatchCreateRequest},
};
use crate::{record_codec, store::Condition};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tombolo_model::{Change, View};

/// The delays between two rounds over all members. Jitter spreads the reconnects of replicas that lost the same member.
const ROUND_DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(1))
    .with_jitter()
    .without_max_times();
/// The number of records in a page of a range; halved while a page is too large.
const PAGE_RECORDS: i64 = 4096;

/// A member that serves this replica, and the watch of the state on it.
pub(super) struct Session {
    pub(super) member: Member,
    pub(super) watching: Watching,
}

/// The position of a replica in the sequence of writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The etcd revision of the last applied write; 0 before the first write.
    pub(super) head: i64,
    /// The etcd revision up to which all events were processed.
    pub(super) seen: i64,
    /// The generation whose records are current.
    pub(super) generation: String,
    /// The token of the last applied write; empty before the first write.
    pub(super) token: String,
}

/// A loaded state, with its position in the sequence of writes.
pub(super) struct Loaded {
    pub(super) view: View,
    pub(super) position: Position,
}

impl From<LayoutError> for CallError {
    fn from(error: LayoutError) -> Self {
        CallError::Refused {
            code: tonic::Code::DataLoss,
            why: error.to_string(),
        }
    }
}

pub(super) struct Connected {
    pub(super) session: Session,
    /// The full state; `None` if the watch resumes from the given position.
    pub(super) loaded: Option<Loaded>,
    /// The etcd revision of the last write at the time of connecting. The replica must catch up to it before it writes.
    pub(super) newest: i64,
    /// The index of the member in the options.
    pub(super) number: usize,
}

/// Tries the members in turn, from `first` on, until one serves. Resumes from a position if possible, else loads the
/// full state.
pub(super) async fn connect(
    options: Arc<Options>,
    keys: Keys,
    position: Option<Position>,
    first: usize,
    condition: Arc<watch::Sender<Condition>>,
) -> Connected {
    let mut delays = ROUND_DELAYS.build();
    let mut number = first;
    let mut problems: Vec<String> = vec![String::new(); options.endpoints.len()];
    loop {
        for _ in 0..options.endpoints.len() {
            number %= options.endpoints.len();
            let endpoint = &options.endpoints[number];
            match open_session(&options, &keys, position.as_ref(), endpoint).await {
                Ok((session, loaded, newest)) => {
                    return Connected {
                        session,
                        loaded,
                        newest,
                        number,
                    };
                }
                Err(failure) => problems[number] = format!("{endpoint}: {failure}"),
            }
            number += 1;
        }
        let problem = problems.join("; ");
        tracing::debug!(problem, "no member of the etcd cluster serves");
        condition.send_modify(|condition| {
            condition.member = None;
            condition.problem = Some(problem);
        });
        tokio::time::sleep(delays.next().unwrap_or_default()).await;
    }
}

async fn open_session(
    options: &Options,
    keys: &Keys,
    position: Option<&Position>,
    endpoint: &str,
) -> Result<(Session, Option<Loaded>, i64), CallError> {
    let member = Member::connect(options, endpoint).await?;
    // A linearizable read proves that the member has a quorum.
    let head = member.range(RangeRequest::key(keys.head())).await?;
    let newest = head.kvs.first().map_or(0, |kv| kv.mod_revision);
    let (loaded, seen) = match position {
        Some(position) if can_resume(position, head.kvs.first()) => (None, position.seen),
        _ => {
            let loaded = load(&member, keys).await?;
            let seen = loaded.position.seen;
            (Some(loaded), seen)
        }
    };
    let (key, range_end) = keys.state();
    let create = WatchCreateRequest {
        key,
        range_end,
        start_revision: seen + 1,
    };
    let watching = member.watch(create).await?;
    Ok((Session { member, watching }, loaded, newest))
}

/// Whether the watch can resume from a position: the current head is the position's, or may be a later one.
fn can_resume(position: &Position, head: Option<&KeyValue>) -> bool {
    let Some(kv) = head else {
        return position.head == 0;
    };
    let is_same = || Head::decode(kv).is_ok_and(|head| head.token == position.token);
    kv.mod_revision > position.head || kv.mod_revision == position.head && is_same()
}

/// Reads the full state at one etcd revision.
async fn load(member: &Member, keys: &Keys) -> Result<Loaded, CallError> {
    loop {
        match load_once(member, keys).await {
            // The revision was compacted while reading: read at a newer one.
            Err(failure) if failure.is_compacted() => {}
            other => return other,
        }
    }
}

async fn load_once(member: &Member, keys: &Keys) -> Result<Loaded, CallError> {
    let answer = member.range(RangeRequest::key(keys.head())).await?;
    let now = answer.header.as_ref().map_or(0, |header| header.revision);
    let Some(kv) = answer.kvs.first() else {
        return Ok(Loaded {
            view: View::default(),
            position: Position {
                head: 0,
                seen: now,
                generation: "0".into(),
                token: String::new(),
            },
        });
    };
    let head = Head::decode(kv)?;
    let (mut key, range_end) = keys.records(&head.generation);
    let mut view = View::default();
    view.revision = head.revision;
    let mut limit = PAGE_RECORDS;
    loop {
        let request = RangeRequest {
            key: key.clone(),
            range_end: range_end.clone(),
            limit,
            revision: now,
        };
        let page = match member.range(request).await {
            Err(failure) if failure.is_too_large() && limit > 1 => {
                limit /= 2;
                continue;
            }
            other => other?,
        };
        for kv in &page.kvs {
            let (scope, record) = record_codec::decode(&kv.value).map_err(LayoutError::from)?;
            view.apply(head.revision, &Change::Put(scope, record));
        }
        match page.kvs.last() {
            Some(last) if page.more => {
                key.clone_from(&last.key);
                key.push(0);
            }
            _ => break,
        }
    }
    Ok(Loaded {
        view,
        position: Position {
            head: kv.mod_revision,
            seen: now,
            generation: head.generation,
            token: head.token,
        },
    })
}
