//! The admin endpoints, for people, probes and scripts that know Envoy's.

mod dump;
mod text;

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
use tokio::sync::watch;

use crate::generation::Generation;
use crate::metrics::Registry;
use crate::options::Options;
use crate::worker::Phase;

/// How long a client may take over a request's head.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the endpoints can see and change.
pub(crate) struct State {
    pub(crate) options: Arc<Options>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) generations: watch::Receiver<Arc<Generation>>,
    pub(crate) phase: Arc<watch::Sender<Phase>>,
    pub(crate) started: Instant,
}

/// Serves until dropped; without a socket, waits for ever.
pub(crate) async fn serve(bound: Option<std::net::TcpListener>, state: State) {
    let Some(bound) = bound else {
        return std::future::pending().await;
    };
    let socket = match bound
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(bound))
    {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "admin endpoints are not available");
            return std::future::pending().await;
        }
    };
    let state = Rc::new(state);
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let state = state.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = state.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
}

impl State {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let generation = self.generations.borrow().clone();
        let query = request.uri().query().unwrap_or_default();
        let wants_json = query.split('&').any(|pair| pair == "format=json");
        let filter = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("filter="))
            .unwrap_or_default();
        let path = request.uri().path();
        let changes = matches!(
            path,
            "/reset_counters" | "/quitquitquit" | "/drain_listeners" | "/healthcheck/fail"
        );
        if changes && request.method() != Method::POST {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("Method {} not allowed, POST required.", request.method()),
            );
        }
        match path {
            "/" | "/help" => plain(StatusCode::OK, HELP.to_owned()),
            "/ready" => {
                let status = if self.is_live(&generation) {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                plain(status, format!("{}\n", self.state_name(&generation)))
            }
            "/server_info" => as_json(&self.server_info(&generation)),
            "/stats/prometheus" => plain(
                StatusCode::OK,
                text::prometheus(&text::gather(&self.registry, &generation, &self.uptime())),
            ),
            "/stats" if query.contains("format=prometheus") => plain(
                StatusCode::OK,
                text::prometheus(&text::gather(&self.registry, &generation, &self.uptime())),
            ),
            "/stats" => {
                let stats = text::gather(&self.registry, &generation, &self.uptime());
                if wants_json {
                    as_json(&text::stats_json(&stats, filter))
                } else {
                    plain(StatusCode::OK, text::stats(&stats, filter))
                }
            }
            "/clusters" => plain(StatusCode::OK, text::clusters(&generation, &self.registry)),
            "/listeners" if wants_json => as_json(&dump::listeners(&generation)),
            "/listeners" => plain(StatusCode::OK, text::listeners(&generation)),
            "/config_dump" => as_json(&dump::config(&generation, &self.options)),
            "/reset_counters" => {
                self.registry.reset_counters();
                plain(StatusCode::OK, "OK\n".to_owned())
            }
            "/drain_listeners" | "/healthcheck/fail" => {
                self.phase.send_if_modified(|phase| {
                    let serving = *phase == Phase::Serving;
                    if serving {
                        *phase = Phase::Draining;
                    }
                    serving
                });
                plain(StatusCode::OK, "OK\n".to_owned())
            }
            "/quitquitquit" => {
                self.phase.send_if_modified(|phase| {
                    let earlier = *phase < Phase::Closing;
                    if earlier {
                        *phase = Phase::Closing;
                    }
                    earlier
                });
                plain(StatusCode::OK, "OK\n".to_owned())
            }
            _ => plain(
                StatusCode::NOT_FOUND,
                format!("invalid path. admin commands are:\n{HELP}"),
            ),
        }
    }

    fn is_live(&self, generation: &Generation) -> bool {
        generation.number > 0 && *self.phase.borrow() == Phase::Serving
    }

    fn state_name(&self, generation: &Generation) -> &'static str {
        match (*self.phase.borrow(), generation.number) {
            (Phase::Serving, 0) => "INITIALIZING",
            (Phase::Serving, _) => "LIVE",
            _ => "DRAINING",
        }
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn server_info(&self, generation: &Generation) -> serde_json::Value {
        json!({
            "version": concat!("tombolo-proxy/", env!("CARGO_PKG_VERSION")),
            "state": self.state_name(generation),
            "hot_restart_version": "disabled",
            "uptime_current_epoch": format!("{}s", self.uptime().as_secs()),
            "uptime_all_epochs": format!("{}s", self.uptime().as_secs()),
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

const HELP: &str = "\
/ready: print server state, return 200 if LIVE, otherwise 503
/server_info: print server version/status information
/stats[?filter=TEXT][&format=json]: print server stats
/stats/prometheus: print server stats in prometheus format
/clusters: upstream cluster status
/listeners[?format=json]: print listener info
/config_dump: dump current configuration
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
