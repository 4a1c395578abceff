//! Replacing the whole state, which does not fit into one transaction: a generation of records is written
//! beside the current one, and then the head, which makes it count.
//!
//! Only one replica does that at a time, under a lease: so it may remove what others left behind.

use super::{
    client::CallError,
    connect::{Position, Session},
    layout::Head,
    proto::{Compare, DeleteRangeRequest, Request, RequestOp, TxnRequest},
    replica::{Replica, SessionEnd},
    write::{Batch, MAX_BATCH_BYTES, MAX_KEYS},
};
use crate::{decide::Replace, record_codec, state::State, store::ReplaceError};
use std::time::{Duration, Instant};
use tombolo_model::View;
use tombolo_telemetry::ErrorChain;

/// Seconds after which another replica may begin when this one is gone.
const LEASE_TTL: i64 = 30;
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// Attempts to switch to a new generation while other replicas write.
const MAX_ATTEMPTS: usize = 20;

/// A generation that is being written.
struct BulkWrite {
    generation: String,
    lease: i64,
    renewed: Instant,
    /// True as long as this replica holds the lock on writing a generation.
    mine: Compare,
}

/// Why a bulk replacement failed.
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
    /// Puts a whole state in the place of the present one.
    pub(super) async fn replace(
        &mut self,
        session: &mut Session,
        replace: Replace,
    ) -> Result<(), SessionEnd> {
        let view = self.published.view.load_full();
        if let Err(error) = replace.revision(&view) {
            let _ = replace.done.send(Err(error));
            return Ok(());
        }
        let result = self.put_in_place(session, &replace).await;
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

    async fn put_in_place(
        &mut self,
        session: &mut Session,
        replace: &Replace,
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
                .switch(session, &bulk, view, &token, Vec::new())
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

    /// Carries out the one command of a batch that changes more than fits into a transaction.
    pub(super) async fn write_wide(
        &mut self,
        session: &mut Session,
        batch: Batch,
    ) -> Result<(), SessionEnd> {
        let view = batch.view.clone();
        let written = async {
            let bulk = self.write_generation(session, &State::of(&view)).await?;
            let fences = self.fences(&batch);
            let is_newest = self.position.head == batch.base;
            let done = is_newest
                && self
                    .switch(session, &bulk, view, &batch.token, fences)
                    .await?;
            self.discard(session, bulk).await;
            Ok(done)
        };
        match written.await {
            Ok(true) => batch.acknowledge(),
            Ok(false) => self.put_back(batch.decisions.into_iter().map(|(commit, _)| commit)),
            Err(BulkError::Refused(why)) => batch.fail(&why),
            Err(BulkError::SessionEnd(end)) => {
                batch.fail("the connection to etcd broke; look before you try again");
                return Err(end);
            }
        }
        Ok(())
    }

    /// Writes a generation that does not count yet.
    async fn write_generation(
        &mut self,
        session: &mut Session,
        state: &State,
    ) -> Result<BulkWrite, BulkError> {
        let lease = session.member.grant(LEASE_TTL).await?;
        let key = self.keys.replacing();
        let lock = TxnRequest {
            compare: vec![Compare::made_at(key.clone(), 0)],
            success: vec![RequestOp::put_under(
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
            mine: Compare::made_at(key, locked.revision()),
        };
        self.sweep(session, &bulk).await?;
        let mut operations = Vec::new();
        let mut bytes = 0;
        for (scope, record) in &state.records {
            let row = record_codec::encode(scope, record);
            if operations.len() >= MAX_KEYS
                || bytes + row.len() > MAX_BATCH_BYTES && !operations.is_empty()
            {
                self.write_staged(session, &mut bulk, std::mem::take(&mut operations))
                    .await?;
                bytes = 0;
            }
            bytes += row.len();
            let key = self.keys.record(&bulk.generation, scope, &record.key());
            operations.push(RequestOp::put(key, row));
        }
        self.write_staged(session, &mut bulk, operations).await?;
        Ok(bulk)
    }

    async fn write_staged(
        &mut self,
        session: &mut Session,
        bulk: &mut BulkWrite,
        operations: Vec<RequestOp>,
    ) -> Result<(), BulkError> {
        if bulk.renewed.elapsed() > RENEW_INTERVAL {
            session.member.keep_alive(bulk.lease).await?;
            bulk.renewed = Instant::now();
        }
        under(session, &bulk.mine, operations).await?;
        // Meanwhile the watch delivers the writes of other replicas, and the own ones.
        loop {
            tokio::select! {
                biased;
                told = session.watching.next() => self.take(told.map_err(SessionEnd::from)?)?,
                () = std::future::ready(()) => return Ok(()),
            }
        }
    }

    /// Makes a generation the current one. `false`: another replica wrote first; this one has caught up with it.
    async fn switch(
        &mut self,
        session: &mut Session,
        bulk: &BulkWrite,
        view: View,
        token: &str,
        fences: Vec<Compare>,
    ) -> Result<bool, BulkError> {
        let head = Head::new(view.revision, &bulk.generation, token, &self.position.token);
        let mut compare = vec![
            Compare::written_at(self.keys.head(), self.position.head),
            bulk.mine.clone(),
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
        let newest = answer.read(0).map_or(0, |kv| kv.mod_revision);
        if newest == self.position.head {
            return Err(BulkError::Refused(LOCK_LOST.into()));
        }
        self.follow_to(session, newest).await?;
        Ok(false)
    }

    /// Removes what does not count, and lets others write generations.
    async fn discard(&mut self, session: &mut Session, bulk: BulkWrite) {
        let swept = self.sweep(session, &bulk).await;
        if swept.is_err() {
            tracing::warn!("records that no longer count stay in etcd until the next import");
        }
        // It runs out by itself, too.
        let _ = session.member.revoke(bulk.lease).await;
    }

    /// Removes the records of all generations but the one that counts.
    async fn sweep(&mut self, session: &mut Session, bulk: &BulkWrite) -> Result<(), BulkError> {
        let (first, last) = self.keys.generations();
        let (start, end) = self.keys.records(&self.position.generation);
        let delete = |key, range_end| Request::DeleteRange(DeleteRangeRequest { key, range_end });
        let operations = vec![delete(first, start).into(), delete(end, last).into()];
        under(session, &bulk.mine, operations).await
    }
}

const LOCK_LOST: &str = "this took so long that another replica may replace the state; try again";

/// A transaction that is made only while this replica may write a generation.
async fn under(
    session: &Session,
    mine: &Compare,
    success: Vec<RequestOp>,
) -> Result<(), BulkError> {
    let request = TxnRequest {
        compare: vec![mine.clone()],
        success,
        failure: Vec::new(),
    };
    let answer = session.member.txn(request).await?;
    if !answer.succeeded {
        return Err(BulkError::Refused(LOCK_LOST.into()));
    }
    Ok(())
}
