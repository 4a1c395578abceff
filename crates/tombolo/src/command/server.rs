//! `tombolo server`: the control plane.

use crate::{
    listen::{Endpoint, Socket},
    logging,
};
use axum::{Json, Router, extract::State, routing::get};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{
    net::{TcpListener, UdpSocket},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tombolo_dns::{Forwarder, Registry as RegistryZone, registry};
use tombolo_model::Scope;
use tombolo_plan::Publisher;
use tombolo_store::Store;

/// Run the control plane: the AWS APIs, xDS and DNS over one store.
#[derive(clap::Args)]
pub(crate) struct Server {
    /// Where the AWS APIs are served: an address or fd://N; may be given several times.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8490")]
    api: Vec<Endpoint>,
    /// Where proxies get their configuration (xDS).
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:18000")]
    xds: Endpoint,
    /// Where names of Cloud Map namespaces are answered, over UDP and TCP. Not served when absent.
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<Endpoint>,
    /// Where DNS questions for other names go; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    dns_forward: Vec<SocketAddr>,
    /// Answer names of HTTP namespaces too.
    #[arg(long)]
    resolve_http_namespaces: bool,
    /// Where the state is kept. Without it the state is gone when the server ends.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The account whose resources these are: twelve digits.
    #[arg(long, default_value = super::DEFAULT_ACCOUNT)]
    account: String,
    /// The region of callers that name none.
    #[arg(long, default_value = super::DEFAULT_REGION)]
    region: String,
    /// Listen on addresses other than loopback although callers are not authenticated yet.
    #[arg(long)]
    allow_unauthenticated: bool,
}

/// Everything that listens, opened before anything starts.
struct Sockets {
    api: Vec<TcpListener>,
    xds: TcpListener,
    dns_udp: Vec<UdpSocket>,
    dns_tcp: Vec<TcpListener>,
}

impl Server {
    pub(crate) fn run(self) -> Result<i32, String> {
        logging::start("info");
        let scope = Scope::parse(&self.account, &self.region)?;
        self.check_loopback()?;
        super::runtime()?.block_on(self.serve(scope)).map(|()| 0)
    }

    async fn serve(self, scope: Scope) -> Result<(), String> {
        let sockets = self.open()?;
        let store = match &self.data_dir {
            Some(directory) => {
                Store::open(directory).map_err(|error| format!("--data-dir: {error}"))?
            }
            None => Store::memory(),
        };
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();

        let publisher = Publisher::new(store.clone(), scope.clone());
        let follow = publisher.clone();
        tasks.spawn(async move {
            follow.run().await;
            Ok(())
        });

        let xds = tombolo_xds::Server::new(publisher.clone(), Default::default());
        let status = Router::new()
            .route(tombolo_api::STATUS_PATH, get(status))
            .with_state(Status {
                store: store.clone(),
                publisher,
                proxies: xds.registry(),
                scope: scope.clone(),
            });
        announce("xds", sockets.xds.local_addr());
        let stop = shutdown.clone().cancelled_owned();
        tasks.spawn(async move {
            let ended = xds.serve(sockets.xds, stop).await;
            ended.map_err(|error| format!("xds: {error}"))
        });

        let config = tombolo_api::Config {
            account: scope.account.to_string(),
            default_region: scope.region.to_string(),
            ..tombolo_api::Config::default()
        };
        let api = tombolo_api::Server::new(store.clone(), config)?.with_routes(status);
        for listener in sockets.api {
            announce("api", listener.local_addr());
            let (api, shutdown) = (api.clone(), shutdown.clone());
            tasks.spawn(async move {
                let ended = api.serve(listener, shutdown.cancelled_owned()).await;
                ended.map_err(|error| format!("api: {error}"))
            });
        }

        let config = registry::Config {
            resolve_http_namespaces: self.resolve_http_namespaces,
            ..registry::Config::default()
        };
        let zone: Arc<RegistryZone> = Arc::new(RegistryZone::new(store, config));
        for (udp, tcp) in sockets.dns_udp.into_iter().zip(sockets.dns_tcp) {
            announce("dns", udp.local_addr());
            let forward =
                (!self.dns_forward.is_empty()).then(|| Forwarder::new(self.dns_forward.clone()));
            let server = tombolo_dns::Server::new(vec![zone.clone()], forward);
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                let ended = server.serve(udp, tcp, shutdown.cancelled_owned()).await;
                ended.map_err(|error| format!("dns: {error}"))
            });
        }

        let ended = tokio::select! {
            () = terminated() => Ok(()),
            // A part that ends by itself takes the whole down: half a control plane helps nobody.
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(())) => Err("a part of the server ended unexpectedly".into()),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(format!("a part of the server failed: {error}")),
            },
        };
        shutdown.cancel();
        ended
    }

    fn open(&self) -> Result<Sockets, String> {
        let (mut dns_udp, mut dns_tcp) = (Vec::new(), Vec::new());
        for endpoint in &self.dns {
            for socket in endpoint.udp_and_tcp("--dns")? {
                match socket {
                    Socket::Udp(socket) => dns_udp.push(socket),
                    Socket::Tcp(listener) => dns_tcp.push(listener),
                }
            }
        }
        if dns_udp.len() != dns_tcp.len() {
            return Err(
                "--dns: inherited sockets come in pairs, one for UDP and one for TCP".into(),
            );
        }
        let api = self
            .api
            .iter()
            .map(|endpoint| endpoint.tcp("--api"))
            .collect::<Result<_, String>>()?;
        let xds = self.xds.tcp("--xds")?;
        Ok(Sockets {
            api,
            xds,
            dns_udp,
            dns_tcp,
        })
    }

    /// Until signatures are verified, only this machine may call. Inherited sockets are the parent's
    /// responsibility.
    fn check_loopback(&self) -> Result<(), String> {
        if self.allow_unauthenticated {
            return Ok(());
        }
        let api = self.api.iter().map(|endpoint| ("--api", endpoint));
        for (option, endpoint) in api.chain([("--xds", &self.xds)]) {
            if let Endpoint::Address(address) = endpoint
                && !address.ip().is_loopback()
            {
                return Err(format!(
                    "{option} {address}: callers are not authenticated in this version, so only \
                     loopback addresses are served; --allow-unauthenticated lifts this where the \
                     network is trusted"
                ));
            }
        }
        Ok(())
    }
}

fn announce(what: &str, address: std::io::Result<SocketAddr>) {
    if let Ok(address) = address {
        tracing::info!("{what} listens on {address}");
    }
}

/// What `/tombolo/v1/status` answers from.
#[derive(Clone)]
struct Status {
    store: Store,
    publisher: Publisher,
    proxies: tombolo_xds::Registry,
    scope: Scope,
}

/// How it goes, as JSON. `synced` is true when every change is published and every connected proxy has
/// acknowledged what it should hold.
async fn status(State(status): State<Status>) -> Json<serde_json::Value> {
    let warnings: Vec<_> = status
        .publisher
        .warnings()
        .into_iter()
        .map(|(workload, warnings)| {
            serde_json::json!({"workload": workload.key.to_string(), "warnings": warnings})
        })
        .collect();
    let revision = status.store.view().revision;
    let published = *status.publisher.processed().borrow();
    let mut synced = published >= revision;
    let proxies: Vec<_> = status
        .proxies
        .proxies()
        .into_iter()
        .map(|proxy| {
            let wanted = status.publisher.wanted(&proxy.node);
            let has_it = wanted.is_none_or(|wanted| proxy.revision_acked >= wanted);
            synced &= has_it || !proxy.connected;
            let mut json = serde_json::to_value(&proxy).unwrap_or_default();
            json["revision_wanted"] = wanted.into();
            json
        })
        .collect();
    Json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "account": status.scope.account,
        "region": status.scope.region,
        "revision": revision,
        "publishedRevision": published,
        "synced": synced,
        "proxies": proxies,
        "warnings": warnings,
    }))
}

/// Resolves when the process is asked to end.
async fn terminated() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be caught");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be caught");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
