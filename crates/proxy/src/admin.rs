//! The admin endpoints, compatible with Envoy's.

mod clusters;
mod config_dump;
mod listeners;
mod memory;
mod stats;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tombolo_telemetry::Outage;

use crate::generation::Generation;
use crate::metrics::Registry;
use crate::options::Options;
use crate::proxy::advance;
use crate::worker::Phase;

/// Deadline for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum duration of a connection, which also bounds clients that do not read their response.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum concurrent connections of one socket.
const MAX_CONNECTIONS: usize = 64;
/// The pause after an accept that failed.
const RETRY: Duration = Duration::from_millis(100);

/// The parts of the proxy that the endpoints read and change.
pub(crate) struct State {
    pub(crate) options: Arc<Options>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) generations: watch::Receiver<Arc<Generation>>,
    pub(crate) phase: Arc<watch::Sender<Phase>>,
    pub(crate) started: Instant,
}

/// The paths that a socket serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServedPaths {
    All,
    /// [`METRICS_PATHS`], which change nothing.
    Metrics,
}

/// Paths of [`ServedPaths::Metrics`]: state and statistics, but not the configuration.
pub(crate) const METRICS_PATHS: [&str; 8] = [
    "/ready",
    "/stats",
    "/stats/prometheus",
    "/clusters",
    "/listeners",
    "/server_info",
    "/certs",
    "/memory",
];

/// Serves until dropped. Never completes, with or without a socket.
pub(crate) async fn serve(bound: Vec<(ServedPaths, std::net::TcpListener)>, state: State) {
    let state = Rc::new(state);
    let mut accepting = tokio::task::JoinSet::new();
    for (paths, socket) in bound {
        accepting.spawn_local(accept(paths, socket, state.clone()));
    }
    while let Some(ended) = accepting.join_next().await {
        // A panic here ends the thread, which ends the proxy: without its readiness endpoint it would be killed
        // anyway.
        ended.expect("accepting admin connections does not panic");
    }
    std::future::pending().await
}

async fn accept(paths: ServedPaths, bound: std::net::TcpListener, state: Rc<State>) {
    let socket = match bound
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(bound))
    {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "admin endpoints are not available");
            return;
        }
    };
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut failing = Outage::default();
    loop {
        // Further connections wait in the socket's queue.
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if failing.begins() {
                    tracing::warn!(%error, "cannot accept admin connections; trying until it succeeds");
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        if let Some(failures) = failing.ended() {
            tracing::warn!(failures, "accepting admin connections again");
        }
        let state = state.clone();
        tokio::task::spawn_local(async move {
            let _permit = permit;
            let service = service_fn(|request: Request<Incoming>| {
                let response = state.answer(paths, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "admin connection ended"),
                Err(_) => tracing::debug!("admin connection closed: it lasted too long"),
            }
        });
    }
}

impl State {
    fn answer(&self, paths: ServedPaths, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let generation = self.generations.borrow().clone();
        let query = request.uri().query().unwrap_or_default();
        let parameter = |name| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let format = parameter("format=").unwrap_or_default();
        let path = request.uri().path();
        if paths == ServedPaths::Metrics {
            let is_read = [Method::GET, Method::HEAD].contains(request.method());
            if !is_read || !METRICS_PATHS.contains(&path) {
                let reads = METRICS_PATHS.join(", ");
                let text = format!("only these can be read at this address: {reads}\n");
                return plain(StatusCode::FORBIDDEN, text);
            }
        }
        let changes = matches!(
            path,
            "/reset_counters" | "/quitquitquit" | "/drain_listeners" | "/healthcheck/fail"
        );
        if changes && request.method() != Method::POST {
            let text = format!("Method {} not allowed, POST required.", request.method());
            return plain(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        let ok = |text| plain(StatusCode::OK, text);
        let stats = || stats::gather(&self.registry, &generation, self.started.elapsed());
        let filter = parameter("filter=").unwrap_or_default();
        match (path, format) {
            ("/" | "/help", _) => ok(HELP.to_owned()),
            ("/ready", _) => {
                let state = self.state_name(&generation);
                let status = match state {
                    LIVE => StatusCode::OK,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                plain(status, format!("{state}\n"))
            }
            ("/server_info", _) => as_json(&self.server_info(&generation)),
            ("/stats/prometheus", _) | ("/stats", "prometheus") => ok(stats::prometheus(&stats())),
            ("/stats", "json") => as_json(&stats::json(&stats(), filter)),
            ("/stats", _) => ok(stats::text(&stats(), filter)),
            ("/clusters", _) => ok(clusters::text(&generation, &self.registry)),
            ("/listeners", "json") => as_json(&config_dump::listeners(&generation)),
            ("/listeners", _) => ok(listeners::text(&generation)),
            ("/config_dump", _) => as_json(&config_dump::config(&generation, &self.options)),
            // Without TLS there are no certificates, and there is no runtime layer to override values with.
            ("/certs", _) => as_json(&json!({ "certificates": [] })),
            ("/runtime", _) => as_json(&json!({ "layers": ["admin"], "entries": {} })),
            ("/memory", _) => as_json(&memory::usage()),
            ("/reset_counters", _) => {
                self.registry.reset_counters();
                ok("OK\n".to_owned())
            }
            ("/drain_listeners" | "/healthcheck/fail", _) => {
                advance(&self.phase, Phase::Draining);
                ok("OK\n".to_owned())
            }
            ("/quitquitquit", _) => {
                advance(&self.phase, Phase::Closing);
                ok("OK\n".to_owned())
            }
            _ => plain(
                StatusCode::NOT_FOUND,
                format!("invalid path. admin commands are:\n{HELP}"),
            ),
        }
    }

    fn state_name(&self, generation: &Generation) -> &'static str {
        match (*self.phase.borrow(), generation.number) {
            (Phase::Serving, 0) => "INITIALIZING",
            (Phase::Serving, _) => LIVE,
            _ => "DRAINING",
        }
    }

    fn server_info(&self, generation: &Generation) -> serde_json::Value {
        let uptime = format!("{}s", self.started.elapsed().as_secs());
        json!({
            "version": concat!("tombolo-proxy/", env!("CARGO_PKG_VERSION")),
            "state": self.state_name(generation),
            "hot_restart_version": "disabled",
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "configuration_revision": generation.config.revision,
            "command_line_options": { "concurrency": self.options.worker_count() },
            "node": {
                "id": self.options.node_id,
                "cluster": self.options.node_cluster,
                "metadata": self.options.node_metadata,
            },
        })
    }
}

/// Envoy's name of the state of a proxy that has a configuration and does not drain.
const LIVE: &str = "LIVE";

const HELP: &str = "\
/ready: print server state, return 200 if LIVE, otherwise 503
/server_info: print server version/status information
/stats[?filter=TEXT][&format=json]: print server stats
/stats/prometheus: print server stats in prometheus format
/clusters: upstream cluster status
/listeners[?format=json]: print listener info
/config_dump: dump current configuration
/certs: print certs on machine
/memory: print current allocation/heap usage
/runtime: print runtime values
/reset_counters (POST): reset all counters to zero
/drain_listeners (POST): tell clients to reconnect elsewhere
/healthcheck/fail (POST): as /drain_listeners
/quitquitquit (POST): exit the server
";

fn plain(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=UTF-8", body)
}

fn as_json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-cache, max-age=0"),
    );
    response
}
