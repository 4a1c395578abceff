//! The handle of a store.

use crate::{
    election::{Election, Leadership},
    full_state::FullState,
    local_engine::{Engine, OpenError},
    local_writer::LocalWriter,
    metrics::Metrics,
    secret::Secret,
    watch::{Watch, Watchers},
    write_request::{CommitRequest, ReplaceRequest, WriteRequest},
};
use arc_swap::ArcSwap;
use std::{path::Path, sync::Arc, time::Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tombolo_model::{Change, Command, Limits, Rejection, Reply, Scope, View};
use tombolo_telemetry::{Causes, RequestId, metrics::Registry};

/// The length of the writer's queue. If it is full, callers wait.
pub(crate) const QUEUE_LEN: usize = 1024;

/// A handle of a store. Clones share the store.
#[derive(Clone)]
pub struct Store {
    requests: mpsc::Sender<WriteRequest>,
    published: Arc<Published>,
    condition: watch::Receiver<Condition>,
    limits: Limits,
    metrics: Metrics,
    cluster: Option<Arc<crate::etcd::Options>>,
    secret: Arc<Secret>,
}

/// The published state, which readers see, and its watchers.
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

    /// Publishes the state after these changes, with the ids of the API calls that caused them.
    pub(crate) fn change(&self, view: View, changes: &[Change], causes: &Causes) {
        self.view.store(Arc::new(view));
        self.watchers.announce(changes, causes);
    }

    /// Publishes a new full state. Watchers get a resync.
    pub(crate) fn replace(&self, view: View) {
        self.view.store(Arc::new(view));
        self.watchers.resync();
    }
}

/// The kind of a store, and whether it can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `memory`, `redb` or `etcd`.
    pub kind: &'static str,
    /// The member of the etcd cluster that serves this replica.
    pub member: Option<String>,
    /// The reason why changes cannot be stored now; `None` if they can. Meanwhile readers see the last state.
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

/// The result of a committed command, durable and visible.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision of the store after the command.
    pub revision: u64,
    /// The answer to the command.
    pub reply: Reply,
}

/// A command that was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The model's rules reject the command.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The changes could not be stored; a retry may succeed. They may nevertheless have been stored if the disk failed
    /// at the very end, or if the connection to etcd broke (the message says so).
    #[error("the change could not be stored: {0}")]
    Unavailable(String),
}

/// A state that was not replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// The store has records, and `overwrite` is false.
    #[error("the store is not empty: it holds {records} records")]
    NotEmpty {
        /// The number of records present.
        records: usize,
    },
    /// The state could not be stored.
    #[error("the state could not be stored: {0}")]
    Unavailable(String),
}

impl Store {
    /// A store in memory, whose records are lost when the last handle is dropped.
    pub fn memory() -> Self {
        Self::start(
            Engine::Memory,
            View::default(),
            Condition::healthy("memory"),
            Secret::random(),
        )
    }

    /// Opens the store in a directory, or creates it there.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (engine, view) = Engine::open(directory)?;
        let secret = engine.secret()?;
        Ok(Self::start(
            engine,
            view,
            Condition::healthy("redb"),
            secret,
        ))
    }

    /// Opens the store in an etcd cluster, which other replicas share.
    ///
    /// # Errors
    ///
    /// If no member answers for ten seconds, or the state in etcd is not readable.
    pub async fn connect(options: crate::etcd::Options) -> Result<Self, OpenError> {
        let options = Arc::new(options);
        let (requests, queue) = mpsc::channel(QUEUE_LEN);
        let (published, condition) = crate::etcd::start(options.clone(), queue).await?;
        let secret = crate::etcd::secret(&options).await?;
        Ok(Self::from_parts(
            requests,
            published,
            condition,
            Some(options),
            secret,
        ))
    }

    pub(crate) fn start(engine: Engine, view: View, condition: Condition, secret: Secret) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE_LEN);
        let published = Published::new(view);
        let (sender, condition) = watch::channel(condition);
        let writer = LocalWriter {
            engine,
            published: published.clone(),
            queue,
            condition: sender,
        };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .expect("the system has room for one more thread");
        Self::from_parts(requests, published, condition, None, secret)
    }

    fn from_parts(
        requests: mpsc::Sender<WriteRequest>,
        published: Arc<Published>,
        condition: watch::Receiver<Condition>,
        cluster: Option<Arc<crate::etcd::Options>>,
        secret: Secret,
    ) -> Self {
        Self {
            requests,
            published,
            condition,
            limits: Limits::default(),
            metrics: Metrics::new(),
            cluster,
            secret: Arc::new(secret),
        }
    }

    /// The secret of the store: the same for all its replicas, as long as the store exists. It is no part of the
    /// state: it is not in views and not in exports.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// A handle of the same store whose commands have these limits instead of the default ones.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The newest state that this replica has. Takes no lock. Revisions never decrease.
    pub fn view(&self) -> Arc<View> {
        self.published.view.load_full()
    }

    /// The kind of the store, and whether it can be written.
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Waits until the writer has panicked: it ended although there are handles. Cancel safe.
    pub async fn failed(&self) {
        let mut condition = self.condition.clone();
        while condition.changed().await.is_ok() {}
    }

    /// Drops this handle and waits until all others are dropped too and the store is closed: accepted commands are
    /// answered, leaderships of the store's own work are resigned, files are closed.
    pub async fn close(self) {
        let mut watch = self.watch();
        drop(self);
        while watch.next().await.is_some() {}
    }

    /// Commits a command. Returns when its changes are durable and visible in [`Store::view`].
    pub async fn commit(&self, scope: Scope, command: Command) -> Result<Committed, CommitError> {
        self.submit(scope, command, None, None).await
    }

    /// As [`Store::commit`], for an API call, whose id is announced with the changes in
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

    /// As [`Store::commit`], but only if this leadership still lasts at the commit (fencing).
    pub async fn commit_as_leader(
        &self,
        leadership: &Leadership,
        scope: Scope,
        command: Command,
    ) -> Result<Committed, CommitError> {
        self.submit(scope, command, Some(leadership.clone()), None)
            .await
    }

    async fn submit(
        &self,
        scope: Scope,
        command: Command,
        fence: Option<Leadership>,
        request_id: Option<RequestId>,
    ) -> Result<Committed, CommitError> {
        let begun = Instant::now();
        let (done, answer) = oneshot::channel();
        let gone = || CommitError::Unavailable("the writer has stopped".into());
        let request = WriteRequest::Commit(CommitRequest {
            scope,
            command,
            limits: self.limits,
            fence,
            request_id,
            begun,
            done,
        });
        let answered = match self.requests.send(request).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        self.metrics.answered(&answered, begun.elapsed());
        answered
    }

    /// Registers the store's metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let (published, condition) = (self.published.clone(), self.condition.clone());
        self.metrics.register(published, condition, registry);
    }

    /// Replaces the full state atomically; returns the new revision. A store that is not empty is replaced only with
    /// `overwrite`.
    pub async fn replace(&self, state: FullState, overwrite: bool) -> Result<u64, ReplaceError> {
        let (done, answer) = oneshot::channel();
        let gone = || ReplaceError::Unavailable("the writer has stopped".into());
        let request = WriteRequest::Replace(ReplaceRequest {
            state,
            overwrite,
            done,
        });
        self.requests.send(request).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Watches the store: a resync with the current state, then every change.
    pub fn watch(&self) -> Watch {
        let published = self.published.clone();
        self.published
            .watchers
            .add(Arc::new(move || published.view.load_full()))
    }

    /// Campaigns for the leadership of some work. Its name has lower-case letters and dashes. Without replicas, this
    /// process leads at once. Needs a tokio runtime.
    pub fn election(&self, name: &str) -> Election {
        if let Some(options) = &self.cluster {
            return crate::etcd::campaign(options.clone(), name);
        }
        Election::uncontested(name)
    }
}
