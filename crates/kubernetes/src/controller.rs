//! A controller of one or more Kubernetes clusters: it waits for its Leases, fills its view by watches, and reconciles.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, select_all};
use kube::Client;
use tokio::sync::{Notify, watch};
use tombolo_controller::{MeshApi, Options, RegistryApi, mesh, registry};
use tombolo_telemetry::Supervisor;
use tombolo_telemetry::supervisor::{Stop, TaskError};

use crate::client::{self, Access, ConnectError};
use crate::cluster::{KubernetesCluster, watch_all};
use crate::events::Events;
use crate::lease::{Candidate, Lost};
use crate::metrics::Metrics;

/// How long tasks may take to end.
const DRAIN: Duration = Duration::from_secs(2);
/// What the owner tag of resources says that belong to none of the clusters: there are none.
const OWNER: &str = "kubernetes";

/// What a controller controls, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The clusters.
    pub clusters: Vec<ClusterConfig>,
    /// Time between two comparisons of everything with the API.
    pub recheck: Duration,
    /// Seconds that resolvers may keep an answer about a service that the controller creates.
    pub dns_ttl: u32,
    /// The namespace of the Lease in each cluster; `None`: without an election, for a single replica.
    pub lease_namespace: Option<String>,
    /// Tells this process from every other one.
    pub identity: String,
}

/// One cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterConfig {
    /// What people call it.
    pub name: Option<String>,
    /// Where its API server is.
    pub access: Access,
}

impl ClusterConfig {
    /// What messages call it.
    fn title(&self) -> String {
        let name = self.name.as_ref().or(self.access.context.as_ref());
        name.map_or_else(|| "of this pod".to_owned(), String::clone)
    }
}

/// How far a controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Waits for its Lease: ready to take over.
    Waiting,
    /// Leads, and lists what there is.
    Listing,
    /// Reconciles.
    Reconciling,
}

/// Why a controller ended.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// A cluster cannot be reached at the start.
    #[error("cluster {cluster}")]
    Connect {
        /// Which.
        cluster: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// Two contexts lead to one cluster, which would be two.
    #[error("cluster {0} is given twice, by two contexts; leave one out")]
    SameCluster(String),
    /// Another replica may act now.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A task failed.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Runs a controller until `stop`.
///
/// # Errors
/// A cluster cannot be reached at the start, a Lease was lost, or a task failed for good.
pub async fn run<A: MeshApi + RegistryApi>(
    config: Config,
    api: Arc<A>,
    metrics: Metrics,
    progress: watch::Sender<Progress>,
    stop: Stop,
) -> Result<(), ControllerError> {
    let mut clusters: Vec<(Client, String)> = Vec::new();
    for cluster in &config.clusters {
        let connected = connect(cluster).await?;
        if clusters.iter().any(|(_, uid)| *uid == connected.1) {
            return Err(ControllerError::SameCluster(cluster.title()));
        }
        clusters.push(connected);
    }
    let mut candidates: Vec<Candidate> = config
        .lease_namespace
        .iter()
        .flat_map(|namespace| {
            clusters.iter().map(|(client, _)| {
                let identity = config.identity.clone();
                Candidate::new(client.clone(), namespace, identity, metrics.clone())
            })
        })
        .collect();
    let acquired = acquire_all(&mut candidates);
    if stop.run_until_cancelled(acquired).await.is_none() {
        return Ok(());
    }
    metrics.leader(true);
    progress.send_replace(Progress::Listing);
    let reconciled = reconcile(&config, clusters, api, &metrics, progress, stop);
    let result = if candidates.is_empty() {
        reconciled.await
    } else {
        let kept = candidates
            .iter_mut()
            .map(|candidate| Box::pin(candidate.keep()));
        tokio::select! {
            result = reconciled => result,
            (lost, _, _) = select_all(kept) => Err(lost.into()),
        }
    };
    metrics.leader(false);
    if !matches!(result, Err(ControllerError::Lost(_))) {
        join_all(candidates.iter_mut().map(Candidate::release)).await;
    }
    result
}

/// Waits until all Leases are held at once: while one is waited for, another may expire.
async fn acquire_all(candidates: &mut [Candidate]) {
    loop {
        for candidate in &mut *candidates {
            candidate.acquire().await;
        }
        let confirmed = join_all(candidates.iter_mut().map(Candidate::confirm)).await;
        if confirmed.into_iter().all(|is_held| is_held) {
            return;
        }
    }
}

/// A client, and the uid of the cluster.
async fn connect(cluster: &ClusterConfig) -> Result<(Client, String), ControllerError> {
    let connected = async {
        let client = cluster.access.client().await?;
        let uid = client::uid(&client).await?;
        Ok((client, uid))
    };
    connected.await.map_err(|source| ControllerError::Connect {
        cluster: cluster.title(),
        source,
    })
}

async fn reconcile<A: MeshApi + RegistryApi>(
    config: &Config,
    clients: Vec<(Client, String)>,
    api: Arc<A>,
    metrics: &Metrics,
    progress: watch::Sender<Progress>,
    stop: Stop,
) -> Result<(), ControllerError> {
    let mut supervisor = Supervisor::new();
    let reconcilers = supervisor.stage("reconcilers", DRAIN);
    let background = supervisor.stage("watches and events", DRAIN);
    let mut clusters = Vec::new();
    for ((client, uid), cluster) in clients.into_iter().zip(&config.clusters) {
        let (events, writer) = Events::new(metrics.clone());
        let name = cluster.name.as_deref();
        let cluster = KubernetesCluster::new(client.clone(), name, &uid, events, metrics.clone());
        let cluster = Arc::new(cluster);
        supervisor.spawn(background, "events", |stop| async move {
            stop.run_until_cancelled(writer.run(client)).await;
            Ok::<_, std::convert::Infallible>(())
        });
        watch_all(&cluster, &mut supervisor, background);
        clusters.push(cluster);
    }
    supervisor.spawn(reconcilers, "reconcilers", {
        let options = Options {
            adopt: true,
            recheck: config.recheck,
            dns_ttl: config.dns_ttl,
            ..Options::new(OWNER)
        };
        |stop| async move {
            stop.run_until_cancelled(reconcile_listed(clusters, api, options, progress))
                .await;
            Ok::<_, std::convert::Infallible>(())
        }
    });
    Ok(supervisor.run(stop.cancelled_owned()).await?)
}

/// Reconciles once everything is listed: what has no object is deleted.
async fn reconcile_listed<A: MeshApi + RegistryApi>(
    clusters: Vec<Arc<KubernetesCluster>>,
    api: Arc<A>,
    options: Options,
    progress: watch::Sender<Progress>,
) {
    for cluster in &clusters {
        let mut missing = cluster.store().missing();
        // The sender lives as long as the cluster.
        let _ = missing.wait_for(|missing| missing.is_empty()).await;
    }
    progress.send_replace(Progress::Reconciling);
    let observer: tombolo_controller::Observer = Arc::new(|event| tracing::debug!(?event));
    let registry = registry::Controller::new(
        clusters.clone(),
        api.clone(),
        options.clone(),
        observer.clone(),
    );
    let mesh =
        mesh::Controller::new(clusters, api, options, observer).with_registry(registry.problems());
    let never = Arc::new(Notify::new());
    tokio::join!(mesh.run(never.clone()), registry.run(never));
}
