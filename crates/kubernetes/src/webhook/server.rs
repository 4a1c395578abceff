//! The sockets: HTTPS for the API server, HTTP for probes and scrapers.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tombolo_telemetry::metrics::{Format, Registry, render};
use tombolo_telemetry::supervisor::Stop;
use tombolo_telemetry::{ErrorChain, Outage};

use super::decide::{Decision, Policy, decide};
use super::hook::Hook;
use super::metrics::Metrics;
use super::own_certificate::Served;
use super::review::{Answer, Outcome, Request as AdmissionRequest, Review};
use super::view::View;

/// Bytes of a question. An object has 1.5 MiB at most, and an update carries it twice.
const MAX_BODY: usize = 8 << 20;
/// How long a question may take, its body included. The API server waits as long.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may be idle. The API server gives one up after 90 s; it should be the first.
const IDLE: Duration = Duration::from_secs(100);
/// Connections of one socket at a time. API servers keep a few each.
const MAX_CONNECTIONS: usize = 512;
/// How long questions may take to end when the process does.
pub(super) const DRAIN: Duration = DEADLINE;
/// Pause after a failed accept: the usual cause is that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the certificate of new connections comes from.
#[derive(Clone)]
pub(super) enum Certificate {
    /// Made here; none until the API server trusts it.
    Own(Served),
    /// Files that somebody else renews.
    Mounted(tombolo_api::Tls),
}

impl Certificate {
    fn acceptor(&self) -> Option<TlsAcceptor> {
        match self {
            Self::Own(served) => served.load_full().map(TlsAcceptor::from),
            Self::Mounted(tls) => Some(tls.acceptor()),
        }
    }
}

/// What answers questions.
pub(super) struct Webhook {
    pub(super) view: View,
    pub(super) policy: Policy,
    pub(super) certificate: Certificate,
    pub(super) metrics: Metrics,
    /// How long a question may take, its body included.
    pub(super) deadline: Duration,
}

impl Webhook {
    /// Whether questions are answered, and rightly.
    pub(super) fn is_ready(&self) -> bool {
        self.view.is_synced() && self.certificate.acceptor().is_some()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(hook) = Hook::from_path(request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "there is no webhook at this path\n");
        };
        if request.method() != Method::POST {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "questions are sent with POST\n",
            );
        }
        if let Ok(response) = timeout(self.deadline, self.review(hook, request)).await {
            return response;
        }
        tracing::warn!(
            ?hook,
            "a question was not answered within {:?}",
            self.deadline
        );
        text(StatusCode::GATEWAY_TIMEOUT, "the answer took too long\n")
    }

    async fn review(&self, hook: Hook, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
        let body = match body {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                self.metrics.malformed();
                return text(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the question is larger than 8 MiB\n",
                );
            }
            Err(error) => {
                self.metrics.malformed();
                return text(
                    StatusCode::BAD_REQUEST,
                    format!("the body broke off: {error}\n"),
                );
            }
        };
        let (api_version, question) = match Review::read(&body) {
            Ok(read) => read,
            Err(error) => {
                self.metrics.malformed();
                return text(StatusCode::BAD_REQUEST, format!("{}\n", ErrorChain(&error)));
            }
        };
        let answer = self.decide(hook, &question).await;
        let result = match &answer.outcome {
            Outcome::Denied { .. } => "denied",
            Outcome::Admitted(patch) if patch.is_empty() => "admitted",
            Outcome::Admitted(_) => "patched",
        };
        self.metrics.answered(hook, result, started.elapsed());
        if let Outcome::Denied { message, .. } = &answer.outcome {
            let (kind, namespace) = (hook.kind(), &question.namespace);
            tracing::info!(kind, namespace, message, "denied");
        }
        json(&answer.to_json(&api_version, &question.uid))
    }

    /// Decides on what the watches saw, and again on what there is now before anybody is turned away.
    async fn decide(&self, hook: Hook, question: &AdmissionRequest) -> Answer {
        let decide = |objects: &_| decide(hook, question, objects, &self.policy);
        let Decision {
            answer,
            wants_fresh_view,
        } = self.view.with(decide);
        if !wants_fresh_view {
            return answer;
        }
        self.metrics.read_anew();
        match self.view.fresh(&question.namespace).await {
            Ok(objects) => decide(&objects).answer,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "deciding on what the watches saw");
                answer
            }
        }
    }
}

/// What probes and scrapers see.
pub(super) struct Probes {
    pub(super) webhook: Arc<Webhook>,
    pub(super) registry: Registry,
}

impl Probes {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.webhook.is_ready() => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let why = if self.webhook.view.is_synced() {
                    "there is no certificate that the API server trusts yet\n"
                } else {
                    "namespaces and mesh objects are not listed yet\n"
                };
                text(StatusCode::SERVICE_UNAVAILABLE, why)
            }
            "/metrics" => {
                let accept = request.headers().get(header::ACCEPT);
                let format = Format::accepted(accept.and_then(|value| value.to_str().ok()));
                let mut response = text(StatusCode::OK, render(&self.registry, format));
                let content_type = header::HeaderValue::from_static(format.content_type());
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, content_type);
                response
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /metrics\n",
            ),
        }
    }
}

/// Serves webhooks over TLS until it is stopped.
pub(super) async fn serve_webhooks(
    webhook: Arc<Webhook>,
    listener: TcpListener,
    stop: Stop,
) -> io::Result<()> {
    accept(listener, stop.clone(), move |stream| {
        let (webhook, stop) = (webhook.clone(), stop.clone());
        async move {
            let Some(acceptor) = webhook.certificate.acceptor() else {
                tracing::debug!("a connection came before there is a certificate");
                return;
            };
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let answer = move |request| {
                        let webhook = webhook.clone();
                        async move { webhook.answer(request).await }
                    };
                    requests(stream, stop, answer).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake timed out"),
            }
        }
    })
    .await
}

/// Serves probes and metrics until it is stopped.
pub(super) async fn serve_probes(
    probes: Arc<Probes>,
    listener: TcpListener,
    stop: Stop,
) -> io::Result<()> {
    accept(listener, stop.clone(), move |stream| {
        let (probes, stop) = (probes.clone(), stop.clone());
        async move {
            let answer = move |request: Request<Incoming>| {
                let response = probes.answer(&request);
                async move { response }
            };
            requests(stream, stop, answer).await;
        }
    })
    .await
}

/// Accepts connections until it is stopped, and lets those that are open end.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    stop: Stop,
    connection: impl Fn(TcpStream) -> F,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut outage = Outage::default();
    loop {
        let accepted = async {
            // The semaphore is never closed, so that a permit always comes.
            let permit = room.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    if let Some(failures) = outage.ended() {
                        tracing::info!(%address, failures, "accepting connections again");
                    }
                    // Small answers must not wait for the acknowledgement of earlier ones.
                    let _ = stream.set_nodelay(true);
                    let connection = connection(stream);
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    if outage.begins() {
                        tracing::warn!(%address, %error, "cannot accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn requests<F: Future<Output = Response<Full<Bytes>>>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    stop: Stop,
    answer: impl Fn(Request<Incoming>) -> F,
) {
    let service = service_fn(|request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn json(value: &Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, value.to_string());
    let content_type = header::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
