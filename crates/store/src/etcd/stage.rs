//! Writing more than one transaction takes: a whole generation of records beside the present one, and
//! then the head, which makes it count.
//!
//! Only one replica does that at a time, under a lease: so it may remove what others left behind.

use super::{
    client::Failure,
    connect::{Place, Session},
    layout::Head,
    proto::{Compare, DeleteRangeRequest, PutRequest, Request, RequestOp, TxnRequest, TxnResponse},
    replica::{End, Replica},
    write::{BYTES, Batch, KEYS},
};
use crate::{decide::Replace, row, state::State, store::ReplaceError};
use std::time::{Duration, Instant};
use tombolo_model::View;

/// Seconds after which another replica may begin when this one is gone.
const LEASE: i64 = 30;
const RENEW: Duration = Duration::from_secs(5);
/// How often a whole state is put in place although others write meanwhile.
const ATTEMPTS: usize = 20;

/// A generation that is being written.
struct Staged {
    generation: String,
    lease: i64,
    renewed: Instant,
    /// Holds as long as nobody else writes a generation.
    mine: Compare,
}

/// Why it came to nothing.
enum Stop {
    Refused(String),
    End(End),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { why, .. } => Stop::Refused(why),
            lost => Stop::End(lost.into()),
        }
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Stop::End(end)
    }
}

impl From<&Stop> for ReplaceError {
    fn from(stop: &Stop) -> Self {
        ReplaceError::Unavailable(match stop {
            Stop::Refused(why) | Stop::End(End::Lost(why) | End::Behind(why)) => why.clone(),
        })
    }
}

impl Replica {
    /// Puts a whole state in the place of the present one.
    pub(super) async fn replace(
        &mut self,
        session: &mut Session,
        replace: Replace,
    ) -> Result<(), End> {
        let view = self.published.view.load_full();
        if let Err(error) = replace.revision(&view) {
            let _ = replace.done.send(Err(error));
            return Ok(());
        }
        let result = self.put_in_place(session, &replace).await;
        let answer = match &result {
            Ok(answer) => answer.clone(),
            Err(stop) => Err(stop.into()),
        };
        let _ = replace.done.send(answer);
        match result {
            Err(Stop::End(end)) => Err(end),
            _ => Ok(()),
        }
    }

    async fn put_in_place(
        &mut self,
        session: &mut Session,
        replace: &Replace,
    ) -> Result<Result<u64, ReplaceError>, Stop> {
        let staged = self.stage(session, &replace.state).await?;
        for _ in 0..ATTEMPTS {
            let present = self.published.view.load_full();
            let revision = match replace.revision(&present) {
                Ok(revision) => revision,
                Err(error) => {
                    self.discard(session, staged).await;
                    return Ok(Err(error));
                }
            };
            let mut state = replace.state.clone();
            state.revision = revision;
            let view = state.into_view();
            let token = self.entropy.uuid();
            if self
                .switch(session, &staged, view, &token, Vec::new())
                .await?
            {
                self.discard(session, staged).await;
                return Ok(Ok(revision));
            }
        }
        self.discard(session, staged).await;
        Err(Stop::Refused("others write all the time; try again".into()))
    }

    /// Carries out the one command of a batch that changes more than fits into a transaction.
    pub(super) async fn write_wide(
        &mut self,
        session: &mut Session,
        batch: Batch,
    ) -> Result<(), End> {
        let view = batch.view.clone();
        let written = async {
            let staged = self.stage(session, &State::of(&view)).await?;
            let fences = self.fences(&batch);
            let is_newest = self.place.head == batch.base;
            let done = is_newest
                && self
                    .switch(session, &staged, view, &batch.token, fences)
                    .await?;
            self.discard(session, staged).await;
            Ok(done)
        };
        match written.await {
            Ok(true) => batch.acknowledge(),
            Ok(false) => self.put_back(batch.decisions.into_iter().map(|(commit, _)| commit)),
            Err(Stop::Refused(why)) => batch.fail(&why),
            Err(Stop::End(end)) => {
                batch.fail("the connection to etcd broke; look before you try again");
                return Err(end);
            }
        }
        Ok(())
    }

    /// Writes a generation that does not count yet.
    async fn stage(&mut self, session: &mut Session, state: &State) -> Result<Staged, Stop> {
        let lease = session.member.grant(LEASE).await?;
        let key = self.keys.replacing();
        let lock = TxnRequest {
            compare: vec![Compare::made_at(key.clone(), 0)],
            success: vec![
                Request::Put(PutRequest {
                    key: key.clone(),
                    value: format!("{lease:x}").into(),
                    lease,
                })
                .into(),
            ],
            failure: Vec::new(),
        };
        let locked = session.member.txn(lock).await?;
        if !locked.succeeded {
            return Err(Stop::Refused(format!(
                "another replica replaces the state; try again in {LEASE} s"
            )));
        }
        let mut staged = Staged {
            generation: self.entropy.uuid(),
            lease,
            renewed: Instant::now(),
            mine: Compare::made_at(key, locked.revision()),
        };
        self.sweep(session, &staged).await?;
        let mut operations = Vec::new();
        let mut bytes = 0;
        for (scope, record) in &state.records {
            let row = row::encode(scope, record);
            if operations.len() >= KEYS || bytes + row.len() > BYTES && !operations.is_empty() {
                self.write_staged(session, &mut staged, std::mem::take(&mut operations))
                    .await?;
                bytes = 0;
            }
            bytes += row.len();
            let key = self.keys.record(&staged.generation, scope, &record.key());
            operations.push(RequestOp::put(key, row));
        }
        self.write_staged(session, &mut staged, operations).await?;
        Ok(staged)
    }

    async fn write_staged(
        &mut self,
        session: &mut Session,
        staged: &mut Staged,
        operations: Vec<RequestOp>,
    ) -> Result<(), Stop> {
        if staged.renewed.elapsed() > RENEW {
            session.member.keep_alive(staged.lease).await?;
            staged.renewed = Instant::now();
        }
        under(session, &staged.mine, operations).await?;
        // What others write goes on, and so does the echo of what is written here.
        loop {
            tokio::select! {
                biased;
                told = session.watching.next() => self.take(told.map_err(End::from)?)?,
                () = std::future::ready(()) => return Ok(()),
            }
        }
    }

    /// Makes a generation count. `false`: others wrote since; this replica has caught up with them.
    async fn switch(
        &mut self,
        session: &mut Session,
        staged: &Staged,
        view: View,
        token: &str,
        fences: Vec<Compare>,
    ) -> Result<bool, Stop> {
        let head = Head::new(view.revision, &staged.generation, token, &self.place.token);
        let mut compare = vec![
            Compare::written_at(self.keys.head(), self.place.head),
            staged.mine.clone(),
        ];
        compare.extend(fences);
        let request = TxnRequest {
            compare,
            success: vec![RequestOp::put(self.keys.head(), head.encode())],
            failure: vec![RequestOp::get(self.keys.head())],
        };
        let answer = session.member.txn(request).await?;
        if answer.succeeded {
            self.place = Place {
                head: answer.revision(),
                seen: answer.revision(),
                generation: staged.generation.clone(),
                token: token.to_owned(),
            };
            self.published.replace(view);
            return Ok(true);
        }
        let newest = answer.read(0).map_or(0, |kv| kv.mod_revision);
        if newest == self.place.head {
            return Err(Stop::Refused(LOCK_LOST.into()));
        }
        self.follow_to(session, newest).await?;
        Ok(false)
    }

    /// Removes what does not count, and lets others write generations.
    async fn discard(&mut self, session: &mut Session, staged: Staged) {
        let swept = self.sweep(session, &staged).await;
        if swept.is_err() {
            tracing::warn!("records that no longer count stay in etcd until the next import");
        }
        // It runs out by itself, too.
        let _ = session.member.revoke(staged.lease).await;
    }

    /// Removes the records of all generations but the one that counts.
    async fn sweep(&mut self, session: &mut Session, staged: &Staged) -> Result<(), Stop> {
        let (first, last) = self.keys.generations();
        let (start, end) = self.keys.records(&self.place.generation);
        let delete = |key, range_end| Request::DeleteRange(DeleteRangeRequest { key, range_end });
        let operations = vec![delete(first, start).into(), delete(end, last).into()];
        under(session, &staged.mine, operations).await?;
        Ok(())
    }
}

const LOCK_LOST: &str = "this took so long that another replica may replace the state; try again";

/// A transaction that is made only while this replica may write a generation.
async fn under(
    session: &Session,
    mine: &Compare,
    success: Vec<RequestOp>,
) -> Result<TxnResponse, Stop> {
    let request = TxnRequest {
        compare: vec![mine.clone()],
        success,
        failure: Vec::new(),
    };
    let answer = session.member.txn(request).await?;
    if !answer.succeeded {
        return Err(Stop::Refused(LOCK_LOST.into()));
    }
    Ok(answer)
}
