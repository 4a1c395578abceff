//! The one writer of a store that this process alone holds.

use crate::{
    decide::{Commit, Job, Replace, decide, entropy},
    local_engine::{Engine, OpenError},
    state::State,
    store::{CommitError, Committed, Condition, Published, ReplaceError},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tombolo_model::{Change, View, entropy::Entropy};
use tombolo_telemetry::Causes;

/// Commands that are written in one transaction: the cost of making them durable is shared.
const MAX_BATCH: usize = 256;

/// Delays between attempts to open the file again after an error.
const REOPEN_DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(if cfg!(test) { 1 } else { 250 }))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times();

pub(crate) struct Writer {
    pub(crate) engine: Engine,
    pub(crate) published: Arc<Published>,
    pub(crate) queue: mpsc::Receiver<Job>,
    pub(crate) condition: watch::Sender<Condition>,
}

/// Why the engine cannot be opened again.
#[derive(Debug, thiserror::Error)]
enum ReopenError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] redb::Error),
}

/// The engine had an error: nothing can be written until it is opened again.
struct Broken;

type Answer = (
    oneshot::Sender<Result<Committed, CommitError>>,
    Result<Committed, CommitError>,
);

impl Writer {
    pub(crate) fn run(mut self) {
        let mut entropy = entropy();
        let mut jobs = Vec::with_capacity(MAX_BATCH);
        while self.queue.blocking_recv_many(&mut jobs, MAX_BATCH) > 0 {
            if self.carry_out_all(&mut jobs, &mut entropy).is_err() {
                self.recover();
            }
        }
        self.engine.close();
        self.published.watchers.close();
    }

    /// Carries out jobs in their order; those that are left when the engine breaks are refused.
    fn carry_out_all(&self, jobs: &mut Vec<Job>, entropy: &mut Entropy) -> Result<(), Broken> {
        let mut commits = Vec::with_capacity(jobs.len());
        let mut result = Ok(());
        for job in jobs.drain(..) {
            match job {
                job if result.is_err() => self.refuse(job),
                Job::Commit(commit) => commits.push(commit),
                Job::Replace(replace) => {
                    result = self.carry_out(&mut commits, entropy);
                    match result {
                        Ok(()) => result = self.replace(replace),
                        Err(Broken) => self.refuse(Job::Replace(replace)),
                    }
                }
            }
        }
        result.and_then(|()| self.carry_out(&mut commits, entropy))
    }

    /// Opens the engine again, with growing delays. Meanwhile readers see the last state, and every
    /// command is refused with the reason. Returns when writes are possible again or the store is closed.
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
                        job = self.queue.recv() => match job {
                            Some(job) => self.refuse(job),
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

    /// Opens the engine, and makes it and the published state the same: what was acknowledged holds, and
    /// a write whose error came after it was durable counts.
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
            self.engine.replace(&State::of(&published))?;
        }
        Ok(())
    }

    fn report(&self, problem: Option<String>) {
        self.condition
            .send_modify(|condition| condition.problem = problem);
    }

    /// Answers a job that cannot be carried out now.
    fn refuse(&self, job: Job) {
        let problem = self.condition.borrow().problem.clone().unwrap_or_default();
        // An error: the caller has gone.
        match job {
            Job::Commit(commit) => {
                let _ = commit.done.send(Err(CommitError::Unavailable(problem)));
            }
            Job::Replace(replace) => {
                let _ = replace.done.send(Err(ReplaceError::Unavailable(problem)));
            }
        }
    }

    /// The engine could not write.
    fn failed(&self, error: &redb::Error) -> Broken {
        tracing::error!(%error, "changes could not be stored");
        self.report(Some(format!("{error}; the file is opened again by itself")));
        Broken
    }

    /// Decides each command on the state that the ones before it lead to, then makes all durable at
    /// once. When that fails, each caller gets the error.
    fn carry_out(&self, commits: &mut Vec<Commit>, entropy: &mut Entropy) -> Result<(), Broken> {
        let mut view = View::clone(&self.published.view.load());
        let mut changes: Vec<Change> = Vec::new();
        let mut causes = Causes::default();
        let mut answers: Vec<Answer> = Vec::new();
        for commit in commits.drain(..) {
            let decision = decide(&mut view, &commit, entropy).map(|(more, committed)| {
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
                let broken = self.failed(&error);
                for (done, _) in answers {
                    let _ = done.send(Err(CommitError::Unavailable(error.to_string())));
                }
                return Err(broken);
            }
            self.published.change(view, &changes, &causes);
        }
        for (done, answer) in answers {
            let _ = done.send(answer);
        }
        Ok(())
    }

    fn replace(&self, mut replace: Replace) -> Result<(), Broken> {
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
                        let broken = self.failed(&error);
                        let answer = ReplaceError::Unavailable(error.to_string());
                        (Err(answer), Err(broken))
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
