//! `tombolo server`: the control plane.

mod callers;
mod metrics;
mod proxies;
mod status;

use super::{Error, storage::Storage};
use crate::{listen::Endpoint, logging};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header},
    response::IntoResponse,
    routing::get,
};
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpListener, UdpSocket};
use tombolo_api::Authority;
use tombolo_dns::{
    Forwarder, Registry as RegistryZone,
    range::{Views, VpcRange},
    registry,
};
use tombolo_model::{Limit, Limits, Scope};
use tombolo_plan::{AppMesh, Publisher};
use tombolo_store::Store;
use tombolo_telemetry::{
    Supervisor,
    metrics::{Format, Registry, render},
    supervisor::{Stage, restart_delays},
};

/// Path of the metrics, on the listeners of the APIs.
const METRICS_PATH: &str = "/tombolo/v1/metrics";
/// Path of the health endpoint for load balancers. It answers as long as reads are served, also while the store
/// cannot be written.
const HEALTH_PATH: &str = "/healthz";

/// Time that the tasks of a stage have to end, in addition to their own drain.
const MARGIN: Duration = Duration::from_secs(1);
/// Deadline for work without callers: releasing the lease in etcd, closing the store.
const BACKGROUND_DRAIN: Duration = Duration::from_secs(4);
/// Deadline for blocking work after the drain: an export whose reader is slow.
const BLOCKING_DRAIN: Duration = Duration::from_secs(1);

/// Run the control plane: the AWS APIs, xDS and DNS over one store.
#[derive(clap::Args)]
pub(crate) struct Server {
    /// The address of the AWS APIs, or an inherited socket as fd://N; may be given several times.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8490")]
    api: Vec<Endpoint>,
    /// The address of xDS, which configures proxies; or fd://N.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000")]
    xds: Endpoint,
    /// The address of DNS for Cloud Map namespaces, over UDP and TCP; or fd://N. Not served when absent.
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<Endpoint>,
    /// The resolver for other names; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    dns_forward: Vec<SocketAddr>,
    /// Maximum queries per second of one network (/24 or /56) over UDP, for each worker; further ones are
    /// answered truncated, so that clients retry over TCP. Unlimited when absent.
    #[arg(long, value_name = "N")]
    dns_rate_limit: Option<u32>,
    /// Answer names of HTTP namespaces too, which Cloud Map does not.
    #[arg(long)]
    dns_http_namespaces: bool,
    /// Seconds between two health checks of an instance, for services with a HealthCheckConfig.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    health_check_interval: u32,
    /// The client addresses of a VPC, as vpc-1=10.0.0.0/16; may be given several times. A private namespace is
    /// answered to clients of its VPC only; to all clients when the option is absent.
    #[arg(long, value_name = "VPC=RANGE")]
    vpc: Vec<VpcRange>,
    /// Where the state is kept. Without --data-dir or --store it is gone when the server ends.
    #[command(flatten)]
    storage: Storage,
    /// The account whose resources these are: twelve digits.
    #[arg(long, default_value = super::DEFAULT_ACCOUNT)]
    account: String,
    /// The region of requests that name none.
    #[arg(long, default_value = super::DEFAULT_REGION)]
    region: String,
    /// A quota, as virtual-nodes-per-mesh=20000 or instances-per-service=500000; may be given several times.
    /// The names are those of AWS's quotas (docs/operate/access.md).
    #[arg(long, value_name = "NAME=NUMBER", value_parser = tombolo_model::limits::parse)]
    limit: Vec<(Limit, usize)>,
    #[command(flatten)]
    callers: callers::Callers,
    #[command(flatten)]
    proxies: proxies::Proxies,
}

/// All listening sockets, opened before anything starts.
struct Sockets {
    api: Vec<TcpListener>,
    xds: TcpListener,
    dns: Vec<(UdpSocket, TcpListener)>,
}

impl Server {
    pub(crate) fn run(self) -> Result<i32, Error> {
        logging::start(logging::Level::INFO);
        let scope = Scope::parse(&self.account, &self.region)?;
        self.callers.check(&self.api)?;
        let has_credentials = !self.callers.are_trusted();
        self.proxies.check(&self.xds, has_credentials)?;
        let runtime = super::runtime()?;
        let ended = runtime.block_on(self.serve(scope));
        runtime.shutdown_timeout(BLOCKING_DRAIN);
        ended?;
        Ok(0)
    }

    fn limits(&self) -> Limits {
        let chosen = self.limit.iter();
        chosen.fold(Limits::default(), |limits, (limit, most)| {
            limits.with(*limit, *most)
        })
    }

    async fn serve(self, scope: Scope) -> Result<(), Error> {
        let signals = super::signals()?;
        let sockets = self.open()?;
        let store = self.storage.open().await?.with_limits(self.limits());
        let supervisor = self.start(scope, sockets, store)?;
        super::run_until_signal(supervisor, signals).await
    }

    /// Starts all tasks. At shutdown, API calls are completed first, then proxies are disconnected, then DNS stops,
    /// and the store is closed last.
    fn start(self, scope: Scope, sockets: Sockets, store: Store) -> Result<Supervisor, Error> {
        let api_config = tombolo_api::Config {
            account: scope.account.to_string(),
            default_region: scope.region.to_string(),
            ..tombolo_api::Config::default()
        };
        let mut xds_options = tombolo_xds::server::ServerOptions::default();
        let mut supervisor = Supervisor::new();
        let api_stage = supervisor.stage("api", api_config.drain + MARGIN);
        let xds_stage = supervisor.stage("xds", xds_options.drain + MARGIN);
        let dns_stage = supervisor.stage("dns", MARGIN);
        let background = supervisor.stage("background", BACKGROUND_DRAIN);
        let store_stage = supervisor.stage("store", BACKGROUND_DRAIN);

        let closing = store.clone();
        supervisor.spawn(store_stage, "store", |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = closing.failed() => return Err("the store's writer has stopped"),
            }
            closing.close().await;
            Ok(())
        });
        let publisher = Publisher::new(store.clone(), scope.clone(), AppMesh);
        let follow = publisher.clone();
        supervisor.spawn(background, "publisher", |stop| async move {
            stop.run_until_cancelled(follow.run()).await;
            Ok::<_, Infallible>(())
        });
        let mut registry = tombolo_telemetry::metrics::registry();
        store.register_metrics(&mut registry);
        supervisor.register_metrics(&mut registry);
        publisher.register_metrics(&mut registry);
        let health = tombolo_health::Metrics::default();
        health.register(&mut registry);
        self.check_health(&mut supervisor, background, &store, health);

        let dns = (!sockets.dns.is_empty()).then(|| self.dns(store.clone(), &sockets.dns));
        if let Some(dns) = &dns {
            dns.metrics().register(&mut registry);
        }
        let credentials = self.callers.credentials(&mut supervisor, background)?;
        xds_options.certificates =
            (self.proxies).certificates(&store, &mut supervisor, background)?;
        let root = Authority::new(store.secret().expose())?.root().to_owned();
        let source = (self.proxies).source(publisher.clone(), credentials.as_ref(), &store);
        let xds = tombolo_xds::Server::new(source, xds_options);
        xds.register_metrics(&mut registry);
        let status = status::Sources {
            store: store.clone(),
            publisher,
            proxies: xds.proxies(),
            scope: scope.clone(),
        };
        if let Ok(address) = sockets.xds.local_addr() {
            tracing::info!(service = "xds", %address, "listening");
        }
        supervisor.spawn(xds_stage, "xds", |stop| {
            xds.serve(sockets.xds, stop.cancelled_owned())
        });

        metrics::register(status.clone(), &mut registry);
        let api = tombolo_api::Server::new(store.clone(), api_config)?;
        api.register_metrics(&mut registry);
        let metrics = Router::new()
            .route(METRICS_PATH, get(serve_metrics))
            .with_state(Arc::new(registry));
        let operator = tombolo_operator::routes(store, move || status.status());
        let routes = operator.merge(metrics);
        let api = api
            .with_routes(routes)
            .with_open_route(HEALTH_PATH, get(async || "ok\n"))
            .with_open_route(tombolo_operator::XDS_ROOT_PATH, get(async move || root));
        let api = (self.callers).guard(api, credentials, &mut supervisor, background)?;
        for listener in sockets.api {
            let api = api.clone();
            supervisor.spawn(api_stage, "api", |stop| {
                api.serve(listener, stop.cancelled_owned())
            });
        }

        if let Some(dns) = dns {
            supervisor.spawn(dns_stage, "dns", |stop| {
                dns.serve_all(sockets.dns, stop.cancelled_owned())
            });
        }
        Ok(supervisor)
    }

    /// Runs the health checks while this server is the leader of its replicas.
    fn check_health(
        &self,
        supervisor: &mut Supervisor,
        stage: Stage,
        store: &Store,
        metrics: tombolo_health::Metrics,
    ) {
        let options = tombolo_health::Options {
            interval: Duration::from_secs(self.health_check_interval.into()),
            loopback: self.callers.are_trusted(),
            ..tombolo_health::Options::default()
        };
        let store = store.clone();
        supervisor.spawn_restarting(stage, "health checks", restart_delays(), move |stop| {
            let election = store.election("health-checks");
            let (store, metrics) = (store.clone(), metrics.clone());
            async move {
                let work =
                    move |lead| tombolo_health::run(store.clone(), lead, options, metrics.clone());
                election.run(stop.cancelled_owned(), work).await;
                Ok::<_, Infallible>(())
            }
        });
    }

    fn dns(&self, store: Store, sockets: &[(UdpSocket, TcpListener)]) -> tombolo_dns::Server {
        let own = sockets.iter().filter_map(|(udp, _)| udp.local_addr().ok());
        // Unspecified and loopback addresses are useless to other machines.
        let reachable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_loopback();
        let views = Arc::new(Views::new(self.vpc.clone()));
        let config = registry::Config {
            resolve_http_namespaces: self.dns_http_namespaces,
            addresses: own.map(|address| address.ip()).filter(reachable).collect(),
            views: views.clone(),
        };
        let forward =
            (!self.dns_forward.is_empty()).then(|| Forwarder::new(self.dns_forward.clone()));
        let zone = Arc::new(RegistryZone::new(store, config));
        tombolo_dns::Server::with_views(vec![zone], forward, views).rate_limit(self.dns_rate_limit)
    }

    fn open(&self) -> Result<Sockets, Error> {
        let (mut dns_udp, mut dns_tcp) = (Vec::new(), Vec::new());
        for endpoint in &self.dns {
            endpoint.udp_and_tcp("--dns", &mut dns_udp, &mut dns_tcp)?;
        }
        if dns_udp.len() != dns_tcp.len() {
            return Err(
                "--dns: inherited sockets come in pairs, one for UDP and one for TCP".into(),
            );
        }
        let api = self.api.iter().map(|endpoint| endpoint.tcp("--api"));
        let api = api.collect::<Result<_, _>>()?;
        let xds = self.xds.tcp("--xds")?;
        Ok(Sockets {
            api,
            xds,
            dns: dns_udp.into_iter().zip(dns_tcp).collect(),
        })
    }
}

/// All metrics, in the format that the scraper accepts.
async fn serve_metrics(
    State(registry): State<Arc<Registry>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    (content_type, render(&registry, format))
}
