//! The one writer of a store that this process alone holds.

use crate::{
    decide::{Commit, Job, Replace, decide, entropy},
    engine::Engine,
    store::{CommitError, Committed, Published, ReplaceError},
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tombolo_model::{Change, View, entropy::Entropy};

/// Commands that are written in one transaction: the cost of making them durable is shared.
const BATCH: usize = 256;

pub(crate) struct Writer {
    pub(crate) engine: Engine,
    pub(crate) published: Arc<Published>,
    pub(crate) queue: mpsc::Receiver<Job>,
}

type Answer = (
    oneshot::Sender<Result<Committed, CommitError>>,
    Result<Committed, CommitError>,
);

impl Writer {
    pub(crate) fn run(mut self) {
        let mut entropy = entropy();
        let mut jobs = Vec::with_capacity(BATCH);
        let mut commits = Vec::with_capacity(BATCH);
        while self.queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
            for job in jobs.drain(..) {
                match job {
                    Job::Commit(commit) => commits.push(commit),
                    Job::Replace(replace) => {
                        self.carry_out(&mut commits, &mut entropy);
                        self.replace(replace);
                    }
                }
            }
            self.carry_out(&mut commits, &mut entropy);
        }
        self.published.watchers.close();
    }

    /// Decides each command on the state that the ones before it lead to, then makes all durable at
    /// once. When that fails, none of them happened, and each caller is told so.
    fn carry_out(&self, commits: &mut Vec<Commit>, entropy: &mut Entropy) {
        let mut view = View::clone(&self.published.view.load());
        let mut changes: Vec<Change> = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        for commit in commits.drain(..) {
            let decision = decide(&mut view, &commit, entropy).map(|(more, committed)| {
                changes.extend(more);
                committed
            });
            answers.push((commit.done, decision.map_err(CommitError::Rejected)));
        }
        if !changes.is_empty() {
            if let Err(error) = self.engine.write(view.revision, &changes) {
                tracing::error!(%error, "changes could not be stored");
                for (done, _) in answers {
                    let _ = done.send(Err(CommitError::Unavailable(error.to_string())));
                }
                return;
            }
            self.published.change(view, &changes);
        }
        for (done, answer) in answers {
            // A caller that went away no longer wants to know.
            let _ = done.send(answer);
        }
    }

    fn replace(&self, mut replace: Replace) {
        let result = replace
            .revision(&self.published.view.load())
            .and_then(|revision| {
                replace.state.revision = revision;
                self.engine
                    .replace(&replace.state)
                    .map_err(|error| ReplaceError::Unavailable(error.to_string()))?;
                self.published.replace(replace.state.into_view());
                Ok(revision)
            });
        let _ = replace.done.send(result);
    }
}
