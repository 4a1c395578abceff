//! The writer of a store in one process: commits commands in batches (group commit), and reopens the file after errors.

use crate::{
    full_state::FullState,
    local_engine::{Engine, OpenError},
    store::{CommitError, Committed, Condition, Published, ReplaceError},
    write_request::{CommitRequest, ReplaceRequest, WriteRequest, apply_command, entropy},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tombolo_model::{Change, View, entropy::Entropy};
use tombolo_telemetry::Causes;

/// The greatest number of requests in one batch, whose changes are written in one transaction.
const MAX_BATCH: usize = 256;

/// The delays between attempts to reopen the file after an error.
const REOPEN_DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(if cfg!(test) { 1 } else { 250 }))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times();

pub(crate) struct LocalWriter {
    pub(crate) engine: Engine,
    pub(crate) published: Arc<Published>,
    pub(crate) queue: mpsc::Receiver<WriteRequest>,
    pub(crate) condition: watch::Sender<Condition>,
}

/// An engine that cannot be reopened.
#[derive(Debug, thiserror::Error)]
enum ReopenError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] redb::Error),
}

/// The engine had an error and must be reopened before the next write.
struct EngineFailed;

type Answer = (
    oneshot::Sender<Result<Committed, CommitError>>,
    Result<Committed, CommitError>,
);

impl LocalWriter {
    /// Runs until every handle of the store is dropped.
    pub(crate) fn run(mut self) {
        let mut entropy = entropy();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.queue.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            if self.process(&mut batch, &mut entropy).is_err() {
                self.recover();
            }
        }
        self.engine.close();
        self.published.watchers.close();
    }

    /// Processes a batch of requests in order. If the engine fails, the remaining requests are refused.
    fn process(
        &self,
        batch: &mut Vec<WriteRequest>,
        entropy: &mut Entropy,
    ) -> Result<(), EngineFailed> {
        let mut commits = Vec::with_capacity(batch.len());
        let mut result = Ok(());
        for request in batch.drain(..) {
            match request {
                request if result.is_err() => self.refuse(request),
                WriteRequest::Commit(commit) => commits.push(commit),
                WriteRequest::Replace(replace) => {
                    result = self.group_commit(&mut commits, entropy);
                    match result {
                        Ok(()) => result = self.replace(replace),
                        Err(EngineFailed) => self.refuse(WriteRequest::Replace(replace)),
                    }
                }
            }
        }
        result.and_then(|()| self.group_commit(&mut commits, entropy))
    }

    /// Reopens the engine, with growing delays. Meanwhile readers see the last state, and every request is refused with
    /// the reason. Returns when writes are possible again or the store is closed.
    fn recover(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("the system has room for one more runtime");
        let mut delays = REOPEN_DELAYS.build();
        loop {
            self.engine.close();
            let delay = delays.next().unwrap_or(Duration::from_secs(5));
            let retry = Instant::now() + delay;
            let is_open = runtime.block_on(async {
                loop {
                    tokio::select! {
                        () = sleep_until(retry) => return true,
                        request = self.queue.recv() => match request {
                        Some(request) => self.refuse(request),
                            None => return false,
                        }
                    }
                }
            });
            if !is_open {
                return;
            }
            match self.reopen() {
                Ok(()) => {
                    tracing::info!("the store takes writes again");
                    self.report(None);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be opened again yet");
                    self.report(Some(error.to_string()));
                }
            }
        }
    }

    /// Reopens the engine and reconciles its state with the published one: a write that became durable despite
    /// its error is published, and acknowledged changes that the file has lost are written again.
    fn reopen(&mut self) -> Result<(), ReopenError> {
        let Some(found) = self.engine.reopen()? else {
            return Ok(());
        };
        let published = self.published.view.load_full();
        if found.revision > published.revision {
            self.published.replace(found);
        } else if found.revision < published.revision {
            tracing::error!(
                found = found.revision,
                published = published.revision,
                "the file has lost acknowledged changes; writing the state again"
            );
            self.engine.replace(&FullState::of(&published))?;
        }
        Ok(())
    }

    fn report(&self, problem: Option<String>) {
        self.condition
            .send_modify(|condition| condition.problem = problem);
    }

    /// Answers a request with the current problem.
    fn refuse(&self, request: WriteRequest) {
        let problem = self.condition.borrow().problem.clone().unwrap_or_default();
        // An error of `send` means that the caller has gone.
        match request {
            WriteRequest::Commit(commit) => {
                let _ = commit.done.send(Err(CommitError::Unavailable(problem)));
            }
            WriteRequest::Replace(replace) => {
                let _ = replace.done.send(Err(ReplaceError::Unavailable(problem)));
            }
        }
    }

    /// Reports a failed write.
    fn failed(&self, error: &redb::Error) -> EngineFailed {
        tracing::error!(%error, "changes could not be stored");
        self.report(Some(format!("{error}; the file is opened again by itself")));
        EngineFailed
    }

    /// Applies each command to the result of the ones before it, then writes all changes in one transaction. If that
    /// fails, each caller gets the error.
    fn group_commit(
        &self,
        commits: &mut Vec<CommitRequest>,
        entropy: &mut Entropy,
    ) -> Result<(), EngineFailed> {
        let mut view = View::clone(&self.published.view.load());
        let mut changes: Vec<Change> = Vec::new();
        let mut causes = Causes::default();
        let mut answers: Vec<Answer> = Vec::new();
        for commit in commits.drain(..) {
            let decision = apply_command(&mut view, &commit, entropy).map(|(more, committed)| {
                if !more.is_empty()
                    && let Some(id) = &commit.request_id
                {
                    causes.push(id.clone());
                }
                changes.extend(more);
                committed
            });
            answers.push((commit.done, decision.map_err(CommitError::Rejected)));
        }
        if !changes.is_empty() {
            if let Err(error) = self.engine.write(view.revision, &changes) {
                let failed = self.failed(&error);
                for (done, _) in answers {
                    let _ = done.send(Err(CommitError::Unavailable(error.to_string())));
                }
                return Err(failed);
            }
            self.published.change(view, &changes, &causes);
        }
        for (done, answer) in answers {
            let _ = done.send(answer);
        }
        Ok(())
    }

    fn replace(&self, mut replace: ReplaceRequest) -> Result<(), EngineFailed> {
        let decided = replace.revision(&self.published.view.load());
        let (answer, result) = match decided {
            Err(refused) => (Err(refused), Ok(())),
            Ok(revision) => {
                replace.state.revision = revision;
                match self.engine.replace(&replace.state) {
                    Ok(()) => {
                        self.published.replace(replace.state.into_view());
                        (Ok(revision), Ok(()))
                    }
                    Err(error) => {
                        let failed = self.failed(&error);
                        let answer = ReplaceError::Unavailable(error.to_string());
                        (Err(answer), Err(failed))
                    }
                }
            }
        };
        let _ = replace.done.send(answer);
        result
    }
}

#[cfg(test)]
mod tests;
