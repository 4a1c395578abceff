//! The one writer and its handle.

use crate::{
    engine::{Engine, OpenError},
    watch::{Watch, Watchers},
};
use arc_swap::ArcSwap;
use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, oneshot};
use tombolo_model::{
    Change, Command, Context, Rejection, Reply, Scope, Timestamp, View, entropy::Entropy,
};

/// Commands that wait for the writer; a caller beyond that waits to get into the queue.
const QUEUE: usize = 1024;
/// Commands that are written in one transaction: the cost of making them durable is shared.
const BATCH: usize = 256;

/// A handle on the state of everything. Clones share it.
#[derive(Clone)]
pub struct Store {
    commands: mpsc::Sender<Job>,
    published: Arc<Published>,
}

struct Published {
    view: ArcSwap<View>,
    watchers: Watchers,
}

/// A command that was carried out, durable and visible.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision at which it holds.
    pub revision: u64,
    /// The answer.
    pub reply: Reply,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A rule forbids it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It could not be made durable. The state is as before; trying again may help.
    #[error("the change could not be stored: {0}")]
    Unavailable(String),
}

struct Job {
    scope: Scope,
    command: Command,
    done: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Store {
    /// A store that forgets everything when the last handle is dropped.
    pub fn memory() -> Self {
        Self::start(Engine::Memory, View::default())
    }

    /// The store in a directory, made when it is not there. What was acknowledged before is there again.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (engine, view) = Engine::open(directory)?;
        Ok(Self::start(engine, view))
    }

    fn start(engine: Engine, view: View) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let published = Arc::new(Published {
            view: ArcSwap::from_pointee(view),
            watchers: Watchers::default(),
        });
        let writer = Writer {
            engine,
            published: published.clone(),
            queue,
        };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .expect("the system has room for one more thread");
        Self {
            commands,
            published,
        }
    }

    /// The newest state. Costs no lock.
    pub fn view(&self) -> Arc<View> {
        self.published.view.load_full()
    }

    /// Decides and carries out a command. Returns when it is durable and visible in [`Store::view`].
    pub async fn commit(&self, scope: Scope, command: Command) -> Result<Committed, CommitError> {
        let (done, answer) = oneshot::channel();
        let gone = || CommitError::Unavailable("the writer has stopped".into());
        self.commands
            .send(Job {
                scope,
                command,
                done,
            })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Announces every change from now on, after the current state.
    pub fn watch(&self) -> Watch {
        let published = self.published.clone();
        self.published
            .watchers
            .add(Arc::new(move || published.view.load_full()))
    }
}

struct Writer {
    engine: Engine,
    published: Arc<Published>,
    queue: mpsc::Receiver<Job>,
}

type Answer = (
    oneshot::Sender<Result<Committed, CommitError>>,
    Result<Committed, CommitError>,
);

impl Writer {
    fn run(mut self) {
        let mut entropy = Entropy::new(seed());
        let mut jobs = Vec::with_capacity(BATCH);
        while self.queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
            self.carry_out(jobs.drain(..), &mut entropy);
        }
        self.published.watchers.close();
    }

    /// Decides each command on the state that the ones before it lead to, then makes all durable at
    /// once. When that fails, none of them happened, and each caller is told so.
    fn carry_out(&self, jobs: impl Iterator<Item = Job>, entropy: &mut Entropy) {
        let mut view = View::clone(&self.published.view.load());
        let mut changes: Vec<Change> = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        for Job {
            scope,
            command,
            done,
        } in jobs
        {
            let context = Context {
                scope,
                now: now(),
                seed: entropy.next_u64(),
            };
            let decision = tombolo_model::apply(&view, &context, &command).map(|applied| {
                if !applied.changes.is_empty() {
                    let revision = view.revision + 1;
                    for change in &applied.changes {
                        view.apply(revision, change);
                    }
                    changes.extend(applied.changes);
                }
                Committed {
                    revision: view.revision,
                    reply: applied.reply,
                }
            });
            answers.push((done, decision.map_err(CommitError::Rejected)));
        }
        if !changes.is_empty() {
            if let Err(error) = self.engine.write(view.revision, &changes) {
                tracing::error!(%error, "changes could not be stored");
                for (done, _) in answers {
                    let _ = done.send(Err(CommitError::Unavailable(error.to_string())));
                }
                return;
            }
            self.published.view.store(Arc::new(view));
            self.published.watchers.announce(&changes);
        }
        for (done, answer) in answers {
            // A caller that went away no longer wants to know.
            let _ = done.send(answer);
        }
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests;
