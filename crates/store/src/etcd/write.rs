//! Own writes: several commands in one transaction, committed only if no other replica wrote meanwhile.

use super::{
    client::CallError,
    connect::Session,
    layout::{Head, last_of_each},
    proto::{Compare, RequestOp, TxnRequest, TxnResponse},
    replica::{Replica, SessionEnd},
};
use crate::{
    decide::{Commit, Job, decide},
    election::Leadership,
    record_codec,
    store::{CommitError, Committed},
};
use std::time::Instant;
use tombolo_model::{Change, Rejection, View};
use tombolo_telemetry::Causes;

/// Most commands in one transaction.
const MAX_COMMANDS: usize = 256;
/// Most keys in one transaction: etcd takes 128, and the head is one of them.
pub(super) const MAX_KEYS: usize = 120;
/// Most bytes of records in one transaction of several commands: etcd takes 1.5 MiB in all.
pub(super) const MAX_BATCH_BYTES: usize = 1 << 20;
/// Most bytes of records of one command; more are written as a generation of their own.
const MAX_COMMAND_BYTES: usize = 1_400_000;

type Decision = Result<Committed, Rejection>;

/// Commands that were decided together, and the transaction that makes it so.
pub(super) struct Batch {
    /// The etcd revision of the write on which they were decided.
    pub(super) base: i64,
    /// By which the write is recognised.
    pub(super) token: String,
    pub(super) decisions: Vec<(Commit, Decision)>,
    /// Whether the write that came after the base was this one, once that is known.
    pub(super) landed: Option<bool>,
    pub(super) view: View,
    changes: Vec<Change>,
    fences: Vec<Leadership>,
    /// One command that changes more than fits into a transaction.
    is_wide: bool,
}

impl Replica {
    /// Works on the next job.
    pub(super) async fn work(&mut self, session: &mut Session) -> Result<(), SessionEnd> {
        if let Some(batch) = self.in_doubt.take() {
            return self.settle(session, batch).await;
        }
        match self.waiting.pop_front() {
            Some(Job::Replace(replace)) => self.replace(session, replace).await,
            Some(job @ Job::Commit(_)) => {
                self.waiting.push_front(job);
                let batch = self.decide();
                if batch.is_wide {
                    return self.write_wide(session, batch).await;
                }
                self.settle(session, batch).await
            }
            None => Ok(()),
        }
    }

    /// Decides as many commands as fit into one transaction, each on the state that the ones before it
    /// lead to.
    fn decide(&mut self) -> Batch {
        let mut batch = Batch {
            base: self.position.head,
            token: self.entropy.uuid(),
            decisions: Vec::new(),
            landed: None,
            view: View::clone(&self.published.view.load()),
            changes: Vec::new(),
            fences: Vec::new(),
            is_wide: false,
        };
        let mut bytes = 0;
        while batch.decisions.len() < MAX_COMMANDS && !batch.is_wide {
            let commit = match self.waiting.pop_front() {
                Some(Job::Commit(commit)) => commit,
                Some(job) => {
                    self.waiting.push_front(job);
                    break;
                }
                None => break,
            };
            let before = batch.view.clone();
            let (changes, decision) = match decide(&mut batch.view, &commit, &mut self.entropy) {
                Ok((changes, committed)) => (changes, Ok(committed)),
                Err(rejection) => (Vec::new(), Err(rejection)),
            };
            let more = changes.iter().map(size).sum::<usize>();
            let keys = batch.changes.len() + changes.len();
            if !batch.changes.is_empty() && (keys > MAX_KEYS || bytes + more > MAX_BATCH_BYTES) {
                batch.view = before;
                self.waiting.push_front(Job::Commit(commit));
                break;
            }
            if keys > MAX_KEYS || more > MAX_COMMAND_BYTES {
                if !batch.decisions.is_empty() {
                    batch.view = before;
                    self.waiting.push_front(Job::Commit(commit));
                    break;
                }
                batch.is_wide = true;
            }
            bytes += more;
            batch.changes.extend(changes);
            if let Some(lead) = &commit.fence
                && !batch.fences.contains(lead)
            {
                batch.fences.push(lead.clone());
            }
            batch.decisions.push((commit, decision));
        }
        batch
    }

    /// Brings a batch to its end, unless the member is lost meanwhile: then it stays in doubt. The same
    /// transaction may be sent several times; its base lets at most one of them through.
    async fn settle(&mut self, session: &mut Session, batch: Batch) -> Result<(), SessionEnd> {
        match batch.landed {
            Some(true) => {
                batch.acknowledge();
                return Ok(());
            }
            Some(false) => {
                self.put_back(batch.decisions.into_iter().map(|(commit, _)| commit));
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
                let newest = answer.read(0).map_or(0, |kv| kv.mod_revision);
                if newest == batch.base {
                    self.drop_fenced(batch, &answer);
                    return Ok(());
                }
                self.in_doubt = Some(batch);
                self.follow_to(session, newest).await
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

    /// The transaction of a batch. Without changes it only checks that the decisions, most of them rejections, were made
    /// on the newest state.
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
            for change in last_of_each(&batch.changes) {
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
        let mut compare = vec![Compare::written_at(self.keys.head(), batch.base)];
        let mut failure = vec![RequestOp::get(self.keys.head())];
        compare.extend(self.fences(batch));
        let leaders = batch.fences.iter().map(|lead| self.keys.leader(&lead.name));
        failure.extend(leaders.map(RequestOp::get));
        TxnRequest {
            compare,
            success,
            failure,
        }
    }

    /// Comparisons that fail once a leadership that a command requires is lost.
    pub(super) fn fences(&self, batch: &Batch) -> Vec<Compare> {
        let hold = |lead: &Leadership| {
            let token = i64::try_from(lead.token).unwrap_or(i64::MAX);
            Compare::made_at(self.keys.leader(&lead.name), token)
        };
        batch.fences.iter().map(hold).collect()
    }

    /// Refuses the commands of leads that have ended; the others are decided again.
    fn drop_fenced(&mut self, batch: Batch, answer: &TxnResponse) {
        let lasts = |lead: &Leadership| {
            let nth = batch.fences.iter().position(|fence| fence == lead);
            let kv = nth.and_then(|nth| answer.read(nth + 1));
            kv.is_some_and(|kv| u64::try_from(kv.create_revision) == Ok(lead.token))
        };
        let mut others = Vec::new();
        for (commit, _) in batch.decisions {
            match &commit.fence {
                Some(lead) if !lasts(lead) => {
                    let why = format!("another replica does {} now", lead.name);
                    let _ = commit.done.send(Err(CommitError::Unavailable(why)));
                }
                _ => others.push(commit),
            }
        }
        self.put_back(others.into_iter());
    }
}

impl Batch {
    /// The API calls whose commands it carries out.
    fn causes(&self) -> Causes {
        let accepted = self
            .decisions
            .iter()
            .filter(|(_, decision)| decision.is_ok());
        accepted
            .filter_map(|(commit, _)| commit.request_id.clone())
            .collect()
    }

    /// Gives each caller the decision on its command.
    pub(super) fn acknowledge(self) {
        for (commit, decision) in self.decisions {
            // An error: the caller has gone.
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

/// About how much a change takes in a transaction.
fn size(change: &Change) -> usize {
    // Scope, key and the words around them.
    const AROUND: usize = 256;
    match change {
        Change::Put(scope, record) => AROUND + record_codec::encode(scope, record).len(),
        Change::Delete(..) => AROUND,
    }
}
