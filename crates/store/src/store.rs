//! The handle on the state of everything.

use crate::{
    decide::{Commit, Job, Replace},
    election::{Election, Leadership},
    local_engine::{Engine, OpenError},
    metrics::Metrics,
    state::State,
    watch::{Watch, Watchers},
    writer::Writer,
};
use arc_swap::ArcSwap;
use std::{path::Path, sync::Arc, time::Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tombolo_model::{Change, Command, Limits, Rejection, Reply, Scope, View};
use tombolo_telemetry::{Causes, RequestId, metrics::Registry};

/// Commands that wait for the writer; a caller beyond that waits to get into the queue.
pub(crate) const QUEUE_LEN: usize = 1024;

/// A handle on the state of everything. Clones share it.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    published: Arc<Published>,
    condition: watch::Receiver<Condition>,
    limits: Limits,
    metrics: Metrics,
    cluster: Option<Arc<crate::etcd::Options>>,
}

/// The state that readers see, and its watchers.
pub(crate) struct Published {
    pub(crate) view: ArcSwap<View>,
    pub(crate) watchers: Watchers,
}

impl Published {
    pub(crate) fn new(view: View) -> Arc<Self> {
        Arc::new(Self {
            view: ArcSwap::from_pointee(view),
            watchers: Watchers::default(),
        })
    }

    /// Shows a state that these changes led to, which these calls have made.
    pub(crate) fn change(&self, view: View, changes: &[Change], causes: &Causes) {
        self.view.store(Arc::new(view));
        self.watchers.announce(changes, causes);
    }

    /// Shows a state that came from elsewhere as a whole.
    pub(crate) fn replace(&self, view: View) {
        self.view.store(Arc::new(view));
        self.watchers.resync();
    }
}

/// Whether the state can be written, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `memory`, `redb` or `etcd`.
    pub kind: &'static str,
    /// The member of the cluster that serves this replica.
    pub member: Option<String>,
    /// Why changes cannot be stored now; `None` when they can. Reads serve the last state meanwhile.
    pub problem: Option<String>,
}

impl Condition {
    pub(crate) fn healthy(kind: &'static str) -> Self {
        Self {
            kind,
            member: None,
            problem: None,
        }
    }
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
    /// It could not be made durable; trying again may help. It may nevertheless have been stored: where the
    /// disk failed at the very end, or the connection to etcd broke (the reason says so).
    #[error("the change could not be stored: {0}")]
    Unavailable(String),
}

/// Why a state was not replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// The store holds records, and overwriting them was not allowed.
    #[error("the store is not empty: it holds {records} records")]
    NotEmpty {
        /// The number of records present.
        records: usize,
    },
    /// It could not be made durable.
    #[error("the state could not be stored: {0}")]
    Unavailable(String),
}

impl Store {
    /// A store that forgets everything when the last handle is dropped.
    pub fn memory() -> Self {
        Self::start(
            Engine::Memory,
            View::default(),
            Condition::healthy("memory"),
        )
    }

    /// The store in a directory, made when it is not there. What was acknowledged before is there again.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (engine, view) = Engine::open(directory)?;
        Ok(Self::start(engine, view, Condition::healthy("redb")))
    }

    /// The store in an etcd cluster, which it shares with other replicas. Fails when no member answers
    /// for ten seconds.
    pub async fn connect(options: crate::etcd::Options) -> Result<Self, OpenError> {
        let options = Arc::new(options);
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        let (published, condition) = crate::etcd::start(options.clone(), queue).await?;
        Ok(Self::over(jobs, published, condition, Some(options)))
    }

    pub(crate) fn start(engine: Engine, view: View, condition: Condition) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        let published = Published::new(view);
        let (sender, condition) = watch::channel(condition);
        let writer = Writer {
            engine,
            published: published.clone(),
            queue,
            condition: sender,
        };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .expect("the system has room for one more thread");
        Self::over(jobs, published, condition, None)
    }

    fn over(
        jobs: mpsc::Sender<Job>,
        published: Arc<Published>,
        condition: watch::Receiver<Condition>,
        cluster: Option<Arc<crate::etcd::Options>>,
    ) -> Self {
        Self {
            jobs,
            published,
            condition,
            limits: Limits::default(),
            metrics: Metrics::new(),
            cluster,
        }
    }

    /// A handle on the same state whose commands are held to other limits than the usual.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The newest state that this replica knows. Costs no lock. It never gets older.
    pub fn view(&self) -> Arc<View> {
        self.published.view.load_full()
    }

    /// Whether the state can be written, and where it is kept.
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Waits until the writer ends although there are handles: it has panicked. Cancel safe.
    pub async fn failed(&self) {
        let mut condition = self.condition.clone();
        while condition.changed().await.is_ok() {}
    }

    /// Drops this handle and waits until all others are dropped too and the store is closed: what was
    /// accepted is answered, work that this replica leads for the store is given up, files are closed.
    pub async fn close(self) {
        let mut watch = self.watch();
        drop(self);
        while watch.next().await.is_some() {}
    }

    /// Decides and carries out a command. Returns when it is durable and visible in [`Store::view`].
    pub async fn commit(&self, scope: Scope, command: Command) -> Result<Committed, CommitError> {
        self.submit(scope, command, None, None).await
    }

    /// As [`Store::commit`], for an API call, whose id travels with the change: watchers get it in
    /// [`Event::Changed`](crate::Event::Changed).
    pub async fn commit_for(
        &self,
        request_id: RequestId,
        scope: Scope,
        command: Command,
    ) -> Result<Committed, CommitError> {
        let committed = self
            .submit(scope, command, None, Some(request_id.clone()))
            .await;
        if let Ok(committed) = &committed {
            tracing::debug!(%request_id, revision = committed.revision, "committed");
        }
        committed
    }

    /// As [`Store::commit`], if this leadership still holds at the moment of the change.
    pub async fn commit_as_leader(
        &self,
        lead: &Leadership,
        scope: Scope,
        command: Command,
    ) -> Result<Committed, CommitError> {
        self.submit(scope, command, Some(lead.clone()), None).await
    }

    async fn submit(
        &self,
        scope: Scope,
        command: Command,
        fence: Option<Leadership>,
        request_id: Option<RequestId>,
    ) -> Result<Committed, CommitError> {
        let asked = Instant::now();
        let (done, answer) = oneshot::channel();
        let gone = || CommitError::Unavailable("the writer has stopped".into());
        let job = Job::Commit(Commit {
            scope,
            command,
            limits: self.limits,
            fence,
            request_id,
            asked,
            done,
        });
        let answered = match self.jobs.send(job).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        self.metrics.answered(&answered, asked.elapsed());
        answered
    }

    /// Lets a registry read what this store counts.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let (published, condition) = (self.published.clone(), self.condition.clone());
        self.metrics.register(published, condition, registry);
    }

    /// Puts a state in the place of the present one, all or nothing, and answers with its revision. A
    /// store that holds anything is only replaced with `overwrite`.
    pub async fn replace(&self, state: State, overwrite: bool) -> Result<u64, ReplaceError> {
        let (done, answer) = oneshot::channel();
        let gone = || ReplaceError::Unavailable("the writer has stopped".into());
        let job = Job::Replace(Replace {
            state,
            overwrite,
            done,
        });
        self.jobs.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Announces every change from now on, after the current state.
    pub fn watch(&self) -> Watch {
        let published = self.published.clone();
        self.published
            .watchers
            .add(Arc::new(move || published.view.load_full()))
    }

    /// Campaigns for some work, by name: lower-case letters and dashes. Without replicas, this process leads
    /// at once. Needs a tokio runtime.
    pub fn election(&self, name: &str) -> Election {
        if let Some(options) = &self.cluster {
            return crate::etcd::campaign(options.clone(), name);
        }
        Election::alone(name)
    }
}
