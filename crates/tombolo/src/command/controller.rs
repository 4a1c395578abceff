//! `tombolo controller`: mesh objects of Kubernetes clusters into the App Mesh and Cloud Map APIs.

use super::Error;
use crate::logging::{self, Level};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};
use tombolo_api::client::{Client, Endpoint};
use tombolo_kubernetes::{
    client::Access,
    controller::{self, ClusterConfig, Config, Progress},
    metrics::Metrics,
};
use tombolo_model::Scope;
use tombolo_telemetry::{
    Supervisor,
    metrics::{Format, Registry, render},
    supervisor::Stage,
};

/// How long the reconcilers may take to end, with the Lease given up after them.
const DRAIN: Duration = Duration::from_secs(8);
/// How long requests for metrics may take to end.
const SERVING_DRAIN: Duration = Duration::from_secs(1);
/// How long one call is repeated before it counts as unanswered. Further attempts are the reconcilers' own.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// The namespace of the pod, as Kubernetes mounts it.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The namespace of AWS's controller.
const DEFAULT_NAMESPACE: &str = "appmesh-system";

/// Reconcile mesh objects of Kubernetes clusters into a control plane, as AWS's controller does.
///
/// Without --kubeconfig and --context it is the service account of the pod that acts, in the pod's own cluster.
#[derive(clap::Args)]
pub(crate) struct Controller {
    /// The control plane, or another server of the App Mesh and Cloud Map APIs.
    #[arg(
        long,
        value_name = "URL",
        env = "AWS_ENDPOINT_URL",
        default_value = "http://127.0.0.1:8490"
    )]
    endpoint: Endpoint,
    /// The region of the calls; else that in AWS_REGION or AWS_DEFAULT_REGION.
    #[arg(long, value_name = "REGION")]
    aws_region: Option<String>,
    /// The kubeconfig of the clusters.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; given several times, all these clusters are reconciled into one mesh API.
    #[arg(long, value_name = "NAME")]
    context: Vec<String>,
    /// What people call the cluster. With several contexts, each cluster is called as its context.
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// Wait for the Lease appmesh-controller-leader-election, which AWS's controller takes, too, and reconcile only
    /// while holding it.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    enable_leader_election: bool,
    /// The namespace of the Lease; the pod's own unless given, else appmesh-system.
    #[arg(long, value_name = "NAMESPACE")]
    leader_election_namespace: Option<String>,
    /// Time between two comparisons of everything with the APIs, as 30s or 10h.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    sync_period: Duration,
    /// Seconds that resolvers may keep an answer about a Cloud Map service that the controller creates.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    cloudmap_dns_ttl: u32,
    /// The address of /metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_addr: SocketAddr,
    /// The port of /healthz and /readyz.
    #[arg(long, value_name = "PORT", default_value_t = 61779)]
    health_probe_port: u16,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    log_level: Level,
}

/// Reads a duration as Go writes it.
fn duration(text: &str) -> Result<Duration, jiff::Error> {
    Duration::try_from(text.parse::<jiff::SignedDuration>()?)
}

fn level(text: &str) -> Result<Level, UnknownLevel> {
    logging::level(text).ok_or(UnknownLevel)
}

#[derive(Debug, thiserror::Error)]
#[error("is none of error, warn, info, debug and trace")]
struct UnknownLevel;

impl Controller {
    pub(crate) fn run(self) -> Result<i32, Error> {
        logging::start(self.log_level);
        super::runtime()?.block_on(self.serve())?;
        Ok(0)
    }

    async fn serve(self) -> Result<(), Error> {
        let signals = super::signals()?;
        let api = Arc::new(self.client()?.with_timeout(CALL_DEADLINE));
        let config = self.config();
        let health = SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.health_probe_port));
        let (health, metrics_listener) = (listen(health)?, listen(self.metrics_addr)?);

        let metrics = Metrics::default();
        let mut registry = tombolo_telemetry::metrics::registry();
        metrics.register(&mut registry);
        let (progress, progressed) = watch::channel(Progress::Waiting);
        let mut supervisor = Supervisor::new();
        supervisor.register_metrics(&mut registry);
        let control = supervisor.stage("controller", DRAIN);
        let serving = supervisor.stage("metrics and health", SERVING_DRAIN);
        supervisor.spawn(control, "controller", |stop| {
            controller::run(config, api, metrics, progress, stop)
        });
        let routes = Router::new()
            .route("/metrics", get(serve_metrics))
            .with_state(Arc::new(registry));
        serve(
            &mut supervisor,
            serving,
            "metrics",
            metrics_listener,
            routes,
        );
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(serve_readiness))
            .with_state(progressed);
        serve(&mut supervisor, serving, "health", health, routes);
        super::run_until_signal(supervisor, signals).await
    }

    /// The region of the command line wins over that of the environment.
    fn client(&self) -> Result<Client, Error> {
        Ok(match &self.aws_region {
            // The account is the server's own; here it only has to be one.
            Some(region) => {
                let scope = Scope::parse("000000000000", region)?;
                Client::new(&self.endpoint.to_string(), scope)?
            }
            None => Client::from_environment(self.endpoint.clone(), super::DEFAULT_REGION)?,
        })
    }

    fn config(&self) -> Config {
        let access = |context: Option<&String>| Access {
            kubeconfig: self.kubeconfig.clone(),
            context: context.cloned(),
        };
        let clusters = match self.context.as_slice() {
            [] => vec![ClusterConfig {
                name: self.cluster_name.clone(),
                access: access(None),
            }],
            [context] => vec![ClusterConfig {
                name: self.cluster_name.clone().or_else(|| Some(context.clone())),
                access: access(Some(context)),
            }],
            several => several
                .iter()
                .map(|context| ClusterConfig {
                    name: Some(context.clone()),
                    access: access(Some(context)),
                })
                .collect(),
        };
        Config {
            clusters,
            recheck: self.sync_period,
            dns_ttl: self.cloudmap_dns_ttl,
            lease_namespace: self.enable_leader_election.then(|| self.lease_namespace()),
            identity: identity(),
        }
    }

    fn lease_namespace(&self) -> String {
        let own = || std::fs::read_to_string(OWN_NAMESPACE).ok();
        let given = self.leader_election_namespace.clone().or_else(own);
        given
            .map(|namespace| namespace.trim().to_owned())
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }
}

/// The name of the pod, which is that of its host, and something that a restart changes.
fn identity() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("{host}_{:016x}", fastrand::u64(..))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = tombolo_telemetry::listen::tcp(address)
        .map_err(|error| format!("cannot listen at {address}: {error}"))?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

fn serve(
    supervisor: &mut Supervisor,
    stage: Stage,
    name: &'static str,
    listener: TcpListener,
    routes: Router,
) {
    supervisor.spawn(stage, name, |stop| async move {
        let served = axum::serve(listener, routes);
        served.with_graceful_shutdown(stop.cancelled_owned()).await
    });
}

/// Ready is who would take over, or has everything listed.
async fn serve_readiness(State(progress): State<watch::Receiver<Progress>>) -> impl IntoResponse {
    let progress = *progress.borrow();
    match progress {
        Progress::Waiting => (StatusCode::OK, "ok: another replica leads\n"),
        Progress::Listing => (
            StatusCode::SERVICE_UNAVAILABLE,
            "objects are being listed\n",
        ),
        Progress::Reconciling => (StatusCode::OK, "ok: this replica leads\n"),
    }
}

/// All metrics, in the format that the scraper takes.
async fn serve_metrics(
    State(registry): State<Arc<Registry>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT);
    let format = Format::accepted(accept.and_then(|value| value.to_str().ok()));
    (
        [(header::CONTENT_TYPE, format.content_type())],
        render(&registry, format),
    )
}
