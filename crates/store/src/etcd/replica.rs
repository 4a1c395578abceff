//! One replica: applies the writes of all replicas from the watch, and makes its own.
//!
//! The view is always the result of all writes up to [`Position::head`]. It advances in two ways: by events of the
//! watch, and by an own write that etcd accepted, whose event is then skipped.

use super::{
    client::{CALL_TIMEOUT, CallError},
    layout::{Head, Keys, LayoutError, merge_changes},
    list_and_watch::{Connected, Loaded, Position, Session, connect},
    options::Options,
    proto::{Event, EventType, WatchResponse},
    write::Batch,
    write_pacer::WritePacer,
};
use crate::{
    record_codec,
    store::{CommitError, Condition, Published, QUEUE_LEN},
    write_request::{self, CommitRequest, WriteRequest},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tombolo_model::{Change, View, entropy::Entropy};
use tombolo_telemetry::RequestId;

/// The timeout of a command.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval of progress requests on the watch.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// The interval of checks for timed-out commands while no member serves.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);
/// The greatest number of requests that are taken from the queue at once.
const MAX_REQUESTS_PER_TURN: usize = 256;

pub(super) struct Replica {
    pub(super) keys: Keys,
    pub(super) published: Arc<Published>,
    pub(super) entropy: Entropy,
    pub(super) position: Position,
    /// Requests that were taken from the queue, oldest first.
    pub(super) waiting: VecDeque<WriteRequest>,
    /// A write whose outcome is unknown because its answer was lost.
    pub(super) in_doubt: Option<Batch>,
    pub(super) pacer: WritePacer,
    options: Arc<Options>,
    condition: Arc<watch::Sender<Condition>>,
    queue: mpsc::Receiver<WriteRequest>,
    /// Whether the full state must be loaded, because the watch cannot resume from the position.
    reload: bool,
    /// The index of the member to try first.
    number: usize,
}

/// The reason why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    /// The connection to the member is lost.
    #[error("{0}")]
    Lost(String),
    /// The watch cannot be continued: the full state must be loaded.
    #[error("{0}")]
    Behind(String),
}

/// The state in etcd is older than the one that this process has published.
#[derive(Debug, thiserror::Error)]
#[error(
    "the state in etcd is older (revision {found}) than what was served before (revision {served}): if it was \
     restored from a backup, start this server again to accept that"
)]
pub(super) struct StaleState {
    found: u64,
    served: u64,
}

impl From<LayoutError> for SessionEnd {
    fn from(error: LayoutError) -> Self {
        SessionEnd::Behind(error.to_string())
    }
}

impl From<CallError> for SessionEnd {
    fn from(failure: CallError) -> Self {
        if failure.is_too_large() {
            return SessionEnd::Behind(
                "there is more to catch up than fits into one message".into(),
            );
        }
        SessionEnd::Lost(failure.to_string())
    }
}

impl Replica {
    pub(super) fn new(
        options: Arc<Options>,
        keys: Keys,
        published: Arc<Published>,
        condition: Arc<watch::Sender<Condition>>,
        queue: mpsc::Receiver<WriteRequest>,
    ) -> Self {
        Self {
            keys,
            published,
            entropy: write_request::entropy(),
            position: Position {
                head: 0,
                seen: 0,
                generation: String::new(),
                token: String::new(),
            },
            waiting: VecDeque::new(),
            in_doubt: None,
            pacer: WritePacer::default(),
            options,
            condition,
            queue,
            reload: false,
            number: 0,
        }
    }

    /// Runs until every handle of the store is dropped.
    pub(super) async fn run(mut self, first: Session) {
        let mut session = Some(first);
        loop {
            let Some(mut serving) = session.take() else {
                match self.offline().await {
                    Some(connected) => session = Some(connected),
                    None => break,
                }
                continue;
            };
            self.condition.send_modify(|condition| {
                condition.member = Some(serving.member.endpoint.clone());
                condition.problem = None;
            });
            let Err(end) = self.online(&mut serving).await else {
                break;
            };
            let reload = matches!(end, SessionEnd::Behind(_));
            let problem = end.to_string();
            let endpoint = &serving.member.endpoint;
            tracing::warn!(member = %endpoint, problem, reload, "connection to etcd ended");
            self.condition.send_modify(|condition| {
                condition.member = None;
                condition.problem = Some(format!("{endpoint}: {problem}"));
            });
            self.reload |= reload;
            self.number += 1;
        }
    }

    /// Connects to a member that serves. Meanwhile timed-out commands are answered with an error. `None` if the
    /// store is closed.
    async fn offline(&mut self) -> Option<Session> {
        loop {
            let position = (!self.reload).then(|| self.position.clone());
            let (options, keys) = (self.options.clone(), self.keys.clone());
            let condition = self.condition.clone();
            let search = connect(options, keys, position, self.number, condition);
            tokio::pin!(search);
            let mut expiry = interval(EXPIRY_INTERVAL);
            let connected = loop {
                let has_room = self.waiting.len() < QUEUE_LEN;
                tokio::select! {
                    connected = &mut search => break connected,
                    request = self.queue.recv(), if has_room => self.waiting.push_back(request?),
                    _ = expiry.tick() => self.expire(),
                }
            };
            let Connected {
                mut session,
                loaded,
                newest,
                number,
            } = connected;
            self.number = number;
            let ready = match loaded {
                Some(loaded) => self.adopt(loaded).map_err(|stale| stale.to_string()),
                None => self.catch_up_to(&mut session, newest).await.map_err(|end| {
                    self.reload |= matches!(end, SessionEnd::Behind(_));
                    end.to_string()
                }),
            };
            match ready {
                Ok(()) => return Some(session),
                Err(problem) => {
                    tracing::warn!(member = %session.member.endpoint, problem, "etcd is of no use now");
                    self.condition
                        .send_modify(|condition| condition.problem = Some(problem));
                    self.number += 1;
                    self.expire();
                    tokio::time::sleep(EXPIRY_INTERVAL).await;
                }
            }
        }
    }

    /// Publishes a loaded state and continues from its position.
    ///
    /// # Errors
    ///
    /// If the loaded state is older than the published one.
    pub(super) fn adopt(&mut self, loaded: Loaded) -> Result<(), StaleState> {
        let (found, served) = (loaded.view.revision, self.published.view.load().revision);
        if found < served {
            return Err(StaleState { found, served });
        }
        if let Some(batch) = &mut self.in_doubt
            && batch.base != loaded.position.head
        {
            if loaded.position.token == batch.token {
                batch.is_committed = Some(true);
            } else {
                // The batch may have been committed before the write that was found, or not at all.
                let batch = self.in_doubt.take();
                let why =
                    "etcd does not tell any more whether it was stored; look before you try again";
                batch.into_iter().for_each(|batch| batch.fail(why));
            }
        }
        self.position = loaded.position;
        self.reload = false;
        self.published.replace(loaded.view);
        Ok(())
    }

    /// Runs on a session until it ends. `Ok` if the store is closed.
    async fn online(&mut self, session: &mut Session) -> Result<(), SessionEnd> {
        let mut progress = interval(PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut taken = Vec::with_capacity(MAX_REQUESTS_PER_TURN);
        loop {
            let has_work = self.in_doubt.is_some() || !self.waiting.is_empty();
            let has_room = self.waiting.len() < QUEUE_LEN;
            tokio::select! {
                biased;
                response = session.watching.next() => self.apply_response(response?)?,
                _ = progress.tick() => {
                session.watching.request_progress()?;
                    self.expire();
                }
                count = self.queue.recv_many(&mut taken, MAX_REQUESTS_PER_TURN), if has_room => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.waiting.extend(taken.drain(..));
                }
                () = self.pacer.wait_turn(), if has_work => self.process_next(session).await?,
            }
        }
    }

    /// Reports whether etcd accepts writes.
    pub(super) fn report_status(&self, problem: Option<&str>) {
        self.condition.send_if_modified(|condition| {
            let differs = condition.problem.as_deref() != problem;
            condition.problem = problem.map(str::to_owned);
            differs
        });
    }

    /// Applies events of the watch up to the write at etcd revision `newest`, which exists.
    ///
    /// # Errors
    ///
    /// If the watch delivers nothing for [`CALL_TIMEOUT`], or cannot be continued.
    pub(super) async fn catch_up_to(
        &mut self,
        session: &mut Session,
        newest: i64,
    ) -> Result<(), SessionEnd> {
        if newest == 0 && self.position.head != 0 {
            return Err(SessionEnd::Behind(
                "the state has vanished from etcd".into(),
            ));
        }
        while self.position.head < newest {
            match timeout(CALL_TIMEOUT, session.watching.next()).await {
                Ok(response) => self.apply_response(response?)?,
                Err(_) => return Err(SessionEnd::Lost("the watch has stopped".into())),
            }
        }
        Ok(())
    }

    /// Applies a message of the watch, which has complete writes in order.
    pub(super) fn apply_response(&mut self, response: WatchResponse) -> Result<(), SessionEnd> {
        if response.compact_revision > 0 {
            return Err(SessionEnd::Behind(format!(
                "etcd has forgotten what happened after revision {}",
                self.position.seen
            )));
        }
        if response.canceled {
            return Err(SessionEnd::Lost(format!(
                "watch refused: {}",
                response.cancel_reason
            )));
        }
        for write in response.events.chunk_by(|a, b| revision(a) == revision(b)) {
            let at = write.first().map_or(0, revision);
            if at > self.position.seen {
                self.apply_write(at, write)?;
                self.position.seen = at;
            }
        }
        Ok(())
    }

    /// Applies the events of one write, at etcd revision `at`.
    fn apply_write(&mut self, at: i64, write: &[Event]) -> Result<(), SessionEnd> {
        let head_key = self.keys.head();
        let is_head = |event: &&Event| event.kv.as_ref().is_some_and(|kv| kv.key == head_key);
        // A write without the head writes records of a new generation, which is not current yet.
        let Some(event) = write.iter().find(is_head) else {
            return Ok(());
        };
        let kv = event.kv.as_ref().expect("found by its key");
        if event.kind == EventType::Delete as i32 {
            return Err(SessionEnd::Behind(
                "the state has vanished from etcd".into(),
            ));
        }
        let head = Head::decode(kv)?;
        if head.generation != self.position.generation {
            return Err(SessionEnd::Behind("the whole state was replaced".into()));
        }
        if head.after != self.position.token {
            return Err(SessionEnd::Behind("this is not what came after".into()));
        }
        let (start, end) = self.keys.records(&head.generation);
        let written = write.iter().filter_map(|event| {
            let kv = event.kv.as_ref()?;
            let is_record = kv.key >= start && kv.key < end && event.kind == EventType::Put as i32;
            is_record.then(|| {
                let (scope, record) = record_codec::decode(&kv.value)?;
                Ok(Change::Put(scope, record))
            })
        });
        let changes = merge_changes(&head, written)?;
        let mut view = View::clone(&self.published.view.load());
        view.revision = head.revision;
        for change in &changes {
            view.apply(head.revision, change);
        }
        if let Some(batch) = &mut self.in_doubt
            && batch.base == self.position.head
        {
            batch.is_committed = Some(batch.token == head.token);
        }
        self.pacer.other_wrote(Instant::now());
        self.position.head = at;
        self.position.token = head.token;
        let causes = head.request_ids.into_iter().map(RequestId::new).collect();
        self.published.change(view, &changes, &causes);
        Ok(())
    }

    /// Answers timed-out commands with an error.
    pub(super) fn expire(&mut self) {
        let is_late = |commit: &CommitRequest| commit.begun.elapsed() > COMMAND_TIMEOUT;
        let problem = || {
            let problem = self.condition.borrow().problem.clone();
            problem.unwrap_or_else(|| "there are too many writers".into())
        };
        let late = |request: &mut WriteRequest| matches!(request, WriteRequest::Commit(commit) if is_late(commit));
        if self.waiting.iter_mut().any(late) {
            let why = format!("etcd did not take it in time ({}); try again", problem());
            for request in std::mem::take(&mut self.waiting) {
                match request {
                    WriteRequest::Commit(commit) if is_late(&commit) => {
                        let _ = commit.done.send(Err(CommitError::Unavailable(why.clone())));
                    }
                    request => self.waiting.push_back(request),
                }
            }
        }
        if let Some(batch) = &mut self.in_doubt
            && batch.decisions.iter().any(|(commit, _)| is_late(commit))
        {
            let why = format!(
                "etcd did not say in time whether it was stored ({}); look before you try again",
                problem()
            );
            for (commit, decision) in std::mem::take(&mut batch.decisions) {
                if is_late(&commit) {
                    let _ = commit.done.send(Err(CommitError::Unavailable(why.clone())));
                } else {
                    batch.decisions.push((commit, decision));
                }
            }
            if batch.decisions.is_empty() {
                self.in_doubt = None;
            }
        }
    }

    /// Puts commands back to the front of the queue, to be applied again to the newest state.
    pub(super) fn requeue(&mut self, commits: impl DoubleEndedIterator<Item = CommitRequest>) {
        for commit in commits.rev() {
            self.waiting.push_front(WriteRequest::Commit(commit));
        }
    }
}

/// The etcd revision of the write that an event belongs to.
fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
