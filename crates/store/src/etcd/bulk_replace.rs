//! Replacement of the full state, which does not fit into one transaction: a new generation of records is written
//! beside the current one, and then the head, which makes the new generation the current one.
//!
//! Only one replica does this at a time, under a lock with a lease: so it may delete incomplete generations of others.

use super::{
    client::CallError,
    layout::Head,
    list_and_watch::{Position, Session},
    proto::{Compare, DeleteRangeRequest, Request, RequestOp, TxnRequest},
    replica::{Replica, SessionEnd},
    write::{Batch, MAX_BATCH_BYTES, MAX_KEYS},
};
use crate::{
    full_state::FullState, record_codec, store::ReplaceError, write_request::ReplaceRequest,
};
use std::time::{Duration, Instant};
use tombolo_model::View;
use tombolo_telemetry::ErrorChain;

/// The TTL of the lock in seconds: the time after which another replica can begin if this one has failed.
const LEASE_TTL: i64 = 30;
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// The greatest number of attempts to switch to a new generation while other replicas write.
const MAX_ATTEMPTS: usize = 20;

/// A generation that is being written, and the lock for it.
struct BulkWrite {
    generation: String,
    lease: i64,
    renewed: Instant,
    /// The comparison that succeeds only while this replica holds the lock.
    lock: Compare,
}

/// An error of a bulk replacement.
#[derive(Debug, thiserror::Error)]
enum BulkError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    SessionEnd(#[from] SessionEnd),
}

impl From<CallError> for BulkError {
    fn from(failure: CallError) -> Self {
        match failure {
            CallError::Refused { why, .. } => BulkError::Refused(why),
            lost => BulkError::SessionEnd(lost.into()),
        }
    }
}

impl From<&BulkError> for ReplaceError {
    fn from(error: &BulkError) -> Self {
        ReplaceError::Unavailable(ErrorChain(error).to_string())
    }
}

impl Replica {
    /// Replaces the full state.
    pub(super) async fn replace(
        &mut self,
        session: &mut Session,
        replace: ReplaceRequest,
    ) -> Result<(), SessionEnd> {
        let view = self.published.view.load_full();
        if let Err(error) = replace.revision(&view) {
            let _ = replace.done.send(Err(error));
            return Ok(());
        }
        let result = self.write_and_switch(session, &replace).await;
        let answer = match &result {
            Ok(answer) => answer.clone(),
            Err(error) => Err(error.into()),
        };
        let _ = replace.done.send(answer);
        match result {
            Err(BulkError::SessionEnd(end)) => Err(end),
            _ => Ok(()),
        }
    }

    async fn write_and_switch(
        &mut self,
        session: &mut Session,
        replace: &ReplaceRequest,
    ) -> Result<Result<u64, ReplaceError>, BulkError> {
        let bulk = self.write_generation(session, &replace.state).await?;
        for _ in 0..MAX_ATTEMPTS {
            let present = self.published.view.load_full();
            let revision = match replace.revision(&present) {
                Ok(revision) => revision,
                Err(error) => {
                    self.discard(session, bulk).await;
                    return Ok(Err(error));
                }
            };
            let mut state = replace.state.clone();
            state.revision = revision;
            let view = state.into_view();
            let token = self.entropy.uuid();
            if self
                .switch_generation(session, &bulk, view, &token, Vec::new())
                .await?
            {
                self.discard(session, bulk).await;
                return Ok(Ok(revision));
            }
        }
        self.discard(session, bulk).await;
        Err(BulkError::Refused(
            "others write all the time; try again".into(),
        ))
    }

    /// Commits a batch of one command whose changes do not fit into a transaction.
    pub(super) async fn commit_oversized(
        &mut self,
        session: &mut Session,
        batch: Batch,
    ) -> Result<(), SessionEnd> {
        let view = batch.view.clone();
        let written = async {
            let bulk = self
                .write_generation(session, &FullState::of(&view))
                .await?;
            let fences = self.fences(&batch);
            let is_newest = self.position.head == batch.base;
            let done = is_newest
                && self
                    .switch_generation(session, &bulk, view, &batch.token, fences)
                    .await?;
            self.discard(session, bulk).await;
            Ok(done)
        };
        match written.await {
            Ok(true) => batch.acknowledge(),
            Ok(false) => self.requeue(batch.decisions.into_iter().map(|(commit, _)| commit)),
            Err(BulkError::Refused(why)) => batch.fail(&why),
            Err(BulkError::SessionEnd(end)) => {
                batch.fail("the connection to etcd broke; look before you try again");
                return Err(end);
            }
        }
        Ok(())
    }

    /// Takes the lock and writes a new generation, without switching to it.
    async fn write_generation(
        &mut self,
        session: &mut Session,
        state: &FullState,
    ) -> Result<BulkWrite, BulkError> {
        let lease = session.member.grant(LEASE_TTL).await?;
        let key = self.keys.replacing();
        let lock = TxnRequest {
            compare: vec![Compare::create_revision(key.clone(), 0)],
            success: vec![RequestOp::put_with_lease(
                lease,
                key.clone(),
                format!("{lease:x}").into(),
            )],
            failure: Vec::new(),
        };
        let locked = session.member.txn(lock).await?;
        if !locked.succeeded {
            return Err(BulkError::Refused(format!(
                "another replica replaces the state; try again in {LEASE_TTL} s"
            )));
        }
        let mut bulk = BulkWrite {
            generation: self.entropy.uuid(),
            lease,
            renewed: Instant::now(),
            lock: Compare::create_revision(key, locked.revision()),
        };
        self.delete_other_generations(session, &bulk).await?;
        let mut operations = Vec::new();
        let mut bytes = 0;
        for (scope, record) in &state.records {
            let row = record_codec::encode(scope, record);
            if operations.len() >= MAX_KEYS
                || bytes + row.len() > MAX_BATCH_BYTES && !operations.is_empty()
            {
                self.write_records(session, &mut bulk, std::mem::take(&mut operations))
                    .await?;
                bytes = 0;
            }
            bytes += row.len();
            let key = self.keys.record(&bulk.generation, scope, &record.key());
            operations.push(RequestOp::put(key, row));
        }
        self.write_records(session, &mut bulk, operations).await?;
        Ok(bulk)
    }

    /// Writes some records of a new generation, and renews the lease of the lock.
    async fn write_records(
        &mut self,
        session: &mut Session,
        bulk: &mut BulkWrite,
        operations: Vec<RequestOp>,
    ) -> Result<(), BulkError> {
        if bulk.renewed.elapsed() > RENEW_INTERVAL {
            session.member.keep_alive(bulk.lease).await?;
            bulk.renewed = Instant::now();
        }
        txn_if_locked(session, &bulk.lock, operations).await?;
        // Meanwhile the watch has delivered these records and the writes of other replicas.
        loop {
            tokio::select! {
                biased;
                response = session.watching.next() => {
                self.apply_response(response.map_err(SessionEnd::from)?)?;
                }
                () = std::future::ready(()) => return Ok(()),
            }
        }
    }

    /// Makes a new generation the current one. Returns `false` if another replica wrote first; this one has caught up
    /// with it then.
    async fn switch_generation(
        &mut self,
        session: &mut Session,
        bulk: &BulkWrite,
        view: View,
        token: &str,
        fences: Vec<Compare>,
    ) -> Result<bool, BulkError> {
        let head = Head::new(view.revision, &bulk.generation, token, &self.position.token);
        let mut compare = vec![
            Compare::mod_revision(self.keys.head(), self.position.head),
            bulk.lock.clone(),
        ];
        compare.extend(fences);
        let request = TxnRequest {
            compare,
            success: vec![RequestOp::put(self.keys.head(), head.encode())],
            failure: vec![RequestOp::get(self.keys.head())],
        };
        let answer = session.member.txn(request).await?;
        if answer.succeeded {
            self.position = Position {
                head: answer.revision(),
                seen: answer.revision(),
                generation: bulk.generation.clone(),
                token: token.to_owned(),
            };
            self.published.replace(view);
            return Ok(true);
        }
        let newest = answer.range_result(0).map_or(0, |kv| kv.mod_revision);
        if newest == self.position.head {
            return Err(BulkError::Refused(LOCK_LOST.into()));
        }
        self.catch_up_to(session, newest).await?;
        Ok(false)
    }

    /// Deletes all generations but the current one, and releases the lock.
    async fn discard(&mut self, session: &mut Session, bulk: BulkWrite) {
        let deleted = self.delete_other_generations(session, &bulk).await;
        if deleted.is_err() {
            tracing::warn!("records that no longer count stay in etcd until the next import");
        }
        // If this fails, the lease expires.
        let _ = session.member.revoke(bulk.lease).await;
    }

    /// Deletes the records of all generations but the current one.
    async fn delete_other_generations(
        &mut self,
        session: &mut Session,
        bulk: &BulkWrite,
    ) -> Result<(), BulkError> {
        let (first, last) = self.keys.generations();
        let (start, end) = self.keys.records(&self.position.generation);
        let delete = |key, range_end| Request::DeleteRange(DeleteRangeRequest { key, range_end });
        let operations = vec![delete(first, start).into(), delete(end, last).into()];
        txn_if_locked(session, &bulk.lock, operations).await
    }
}

const LOCK_LOST: &str = "this took so long that another replica may replace the state; try again";

/// Makes a transaction if this replica still holds the lock.
///
/// # Errors
///
/// If the lock is lost, or etcd refuses or does not answer.
async fn txn_if_locked(
    session: &Session,
    lock: &Compare,
    success: Vec<RequestOp>,
) -> Result<(), BulkError> {
    let request = TxnRequest {
        compare: vec![lock.clone()],
        success,
        failure: Vec::new(),
    };
    let answer = session.member.txn(request).await?;
    if !answer.succeeded {
        return Err(BulkError::Refused(LOCK_LOST.into()));
    }
    Ok(())
}
