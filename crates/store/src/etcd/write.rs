//! The replica's own writes: several commands in one transaction, committed only if no other replica wrote meanwhile.

use super::{
    client::CallError,
    layout::{Head, last_changes},
    list_and_watch::Session,
    proto::{Compare, RequestOp, TxnRequest, TxnResponse},
    replica::{Replica, SessionEnd},
};
use crate::{
    election::Leadership,
    record_codec,
    store::{CommitError, Committed},
    write_request::{CommitRequest, WriteRequest, apply_command},
};
use std::time::Instant;
use tombolo_model::{Change, Rejection, View};
use tombolo_telemetry::Causes;

/// The greatest number of commands in one transaction.
const MAX_COMMANDS: usize = 256;
/// The greatest number of records in one transaction: etcd allows 128 operations, and the head is one of them.
pub(super) const MAX_KEYS: usize = 120;
/// The limit of the bytes of records in one transaction of several commands: etcd allows 1.5 MiB in all.
pub(super) const MAX_BATCH_BYTES: usize = 1 << 20;
/// The limit of the bytes of records of one command. A larger command is committed by
/// [`commit_oversized`](Replica::commit_oversized).
const MAX_COMMAND_BYTES: usize = 1_400_000;

type Decision = Result<Committed, Rejection>;

/// Commands that are committed in one transaction.
pub(super) struct Batch {
    /// The etcd revision of the write on which the batch is based.
    pub(super) base: i64,
    /// The unique token of the write.
    pub(super) token: String,
    pub(super) decisions: Vec<(CommitRequest, Decision)>,
    /// Whether etcd committed the batch; `None` while this is unknown.
    pub(super) is_committed: Option<bool>,
    pub(super) view: View,
    changes: Vec<Change>,
    fences: Vec<Leadership>,
    /// Whether the batch is one command whose changes do not fit into a transaction.
    is_oversized: bool,
}

impl Replica {
    /// Processes the batch in doubt, or else the next requests.
    pub(super) async fn process_next(&mut self, session: &mut Session) -> Result<(), SessionEnd> {
        if let Some(batch) = self.in_doubt.take() {
            return self.commit_batch(session, batch).await;
        }
        match self.waiting.pop_front() {
            Some(WriteRequest::Replace(replace)) => self.replace(session, replace).await,
            Some(request @ WriteRequest::Commit(_)) => {
                self.waiting.push_front(request);
                let batch = self.next_batch();
                if batch.is_oversized {
                    return self.commit_oversized(session, batch).await;
                }
                self.commit_batch(session, batch).await
            }
            None => Ok(()),
        }
    }

    /// Applies as many waiting commands as fit into one transaction, each to the result of the ones before it.
    fn next_batch(&mut self) -> Batch {
        let mut batch = Batch {
            base: self.position.head,
            token: self.entropy.uuid(),
            decisions: Vec::new(),
            is_committed: None,
            view: View::clone(&self.published.view.load()),
            changes: Vec::new(),
            fences: Vec::new(),
            is_oversized: false,
        };
        let mut bytes = 0;
        while batch.decisions.len() < MAX_COMMANDS && !batch.is_oversized {
            let commit = match self.waiting.pop_front() {
                Some(WriteRequest::Commit(commit)) => commit,
                Some(request) => {
                    self.waiting.push_front(request);
                    break;
                }
                None => break,
            };
            let before = batch.view.clone();
            let applied = apply_command(&mut batch.view, &commit, &mut self.entropy);
            let (changes, decision) = match applied {
                Ok((changes, committed)) => (changes, Ok(committed)),
                Err(rejection) => (Vec::new(), Err(rejection)),
            };
            let more = changes.iter().map(size).sum::<usize>();
            let keys = batch.changes.len() + changes.len();
            if !batch.changes.is_empty() && (keys > MAX_KEYS || bytes + more > MAX_BATCH_BYTES) {
                batch.view = before;
                self.waiting.push_front(WriteRequest::Commit(commit));
                break;
            }
            if keys > MAX_KEYS || more > MAX_COMMAND_BYTES {
                if !batch.decisions.is_empty() {
                    batch.view = before;
                    self.waiting.push_front(WriteRequest::Commit(commit));
                    break;
                }
                batch.is_oversized = true;
            }
            bytes += more;
            batch.changes.extend(changes);
            if let Some(leadership) = &commit.fence
                && !batch.fences.contains(leadership)
            {
                batch.fences.push(leadership.clone());
            }
            batch.decisions.push((commit, decision));
        }
        batch
    }

    /// Sends the transaction of a batch and answers its commands. If the connection is lost meanwhile, the
    /// batch stays in doubt. The same transaction may be sent several times; the comparison of its base lets it
    /// succeed only once.
    async fn commit_batch(
        &mut self,
        session: &mut Session,
        batch: Batch,
    ) -> Result<(), SessionEnd> {
        match batch.is_committed {
            Some(true) => {
                batch.acknowledge();
                return Ok(());
            }
            Some(false) => {
                self.requeue(batch.decisions.into_iter().map(|(commit, _)| commit));
                return Ok(());
            }
            None => {}
        }
        let begin = Instant::now();
        let sent = session.member.txn(self.transaction(&batch)).await;
        match sent {
            Ok(answer) if answer.succeeded => {
                if !batch.changes.is_empty() {
                    self.report_status(None);
                    self.position.head = answer.revision();
                    self.position.seen = answer.revision();
                    self.position.token.clone_from(&batch.token);
                    self.pacer.wrote(Instant::now(), begin.elapsed());
                    let causes = batch.causes();
                    self.published
                        .change(batch.view.clone(), &batch.changes, &causes);
                }
                batch.acknowledge();
                Ok(())
            }
            Ok(answer) => {
                let newest = answer.range_result(0).map_or(0, |kv| kv.mod_revision);
                if newest == batch.base {
                    self.reject_fenced(batch, &answer);
                    return Ok(());
                }
                self.in_doubt = Some(batch);
                self.catch_up_to(session, newest).await
            }
            Err(CallError::Refused { why, .. }) => {
                tracing::error!(why, "etcd refuses a write");
                self.report_status(Some(&why));
                batch.fail(&why);
                Ok(())
            }
            Err(failure @ CallError::Lost(_)) => {
                self.in_doubt = Some(batch);
                Err(failure.into())
            }
        }
    }

    /// The transaction of a batch. Without changes it only checks that the commands, which were rejected or had
    /// no effect, were applied to the newest state.
    fn transaction(&self, batch: &Batch) -> TxnRequest {
        let generation = &self.position.generation;
        let mut success = Vec::new();
        if !batch.changes.is_empty() {
            let mut head = Head::new(
                batch.view.revision,
                generation,
                &batch.token,
                &self.position.token,
            );
            let causes = batch.causes();
            head.request_ids = causes.ids().iter().map(ToString::to_string).collect();
            for change in last_changes(&batch.changes) {
                let scope = change.scope();
                let key = self.keys.record(generation, scope, &change.key());
                match change {
                    Change::Put(scope, record) => {
                        success.push(RequestOp::put(key, record_codec::encode(scope, record)));
                    }
                    Change::Delete(scope, deleted) => {
                        let before = success.len() - head.deleted.len();
                        head.deleted.push((before, scope.clone(), deleted.clone()));
                        success.push(RequestOp::delete(key));
                    }
                }
            }
            success.push(RequestOp::put(self.keys.head(), head.encode()));
        }
        let mut compare = vec![Compare::mod_revision(self.keys.head(), batch.base)];
        let mut failure = vec![RequestOp::get(self.keys.head())];
        compare.extend(self.fences(batch));
        let leaders = batch
            .fences
            .iter()
            .map(|leadership| self.keys.leader(&leadership.name));
        failure.extend(leaders.map(RequestOp::get));
        TxnRequest {
            compare,
            success,
            failure,
        }
    }

    /// The fencing comparisons of a batch: each fails once a leadership that a command requires is lost.
    pub(super) fn fences(&self, batch: &Batch) -> Vec<Compare> {
        let compare = |leadership: &Leadership| {
            let token = i64::try_from(leadership.token).unwrap_or(i64::MAX);
            Compare::create_revision(self.keys.leader(&leadership.name), token)
        };
        batch.fences.iter().map(compare).collect()
    }

    /// Answers commands whose leadership is lost with an error, and requeues the others.
    fn reject_fenced(&mut self, batch: Batch, answer: &TxnResponse) {
        let lasts = |leadership: &Leadership| {
            let nth = batch.fences.iter().position(|fence| fence == leadership);
            let kv = nth.and_then(|nth| answer.range_result(nth + 1));
            kv.is_some_and(|kv| u64::try_from(kv.create_revision) == Ok(leadership.token))
        };
        let mut others = Vec::new();
        for (commit, _) in batch.decisions {
            match &commit.fence {
                Some(leadership) if !lasts(leadership) => {
                    let why = format!("another replica does {} now", leadership.name);
                    let _ = commit.done.send(Err(CommitError::Unavailable(why)));
                }
                _ => others.push(commit),
            }
        }
        self.requeue(others.into_iter());
    }
}

impl Batch {
    /// The ids of the API calls whose commands were accepted.
    fn causes(&self) -> Causes {
        let accepted = self
            .decisions
            .iter()
            .filter(|(_, decision)| decision.is_ok());
        accepted
            .filter_map(|(commit, _)| commit.request_id.clone())
            .collect()
    }

    /// Answers each command with its result.
    pub(super) fn acknowledge(self) {
        for (commit, decision) in self.decisions {
            // An error means that the caller has gone.
            let _ = commit.done.send(decision.map_err(CommitError::Rejected));
        }
    }

    pub(super) fn fail(self, why: &str) {
        for (commit, _) in self.decisions {
            let _ = commit
                .done
                .send(Err(CommitError::Unavailable(why.to_owned())));
        }
    }
}

/// The approximate size of a change in a transaction, in bytes.
fn size(change: &Change) -> usize {
    // Scope, key and the field names of the encoding.
    const OVERHEAD: usize = 256;
    match change {
        Change::Put(scope, record) => OVERHEAD + record_codec::encode(scope, record).len(),
        Change::Delete(..) => OVERHEAD,
    }
}
