//! Requests to one server: signed, with timeouts and a size limit of answers, and retried after temporary errors.

use super::{Endpoint, Error, Keys, endpoint::Connector};
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client as Http,
    rt::{TokioExecutor, TokioTimer},
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tombolo_model::Scope;
use tombolo_telemetry::ErrorChain;

/// A request that can be sent several times.
pub(super) struct Outgoing {
    /// The service name in the signature.
    pub(super) service: &'static str,
    /// The `Content-Type` of the body.
    pub(super) content_type: &'static str,
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) target: String,
    /// The value of `X-Amz-Target`.
    pub(super) operation: Option<String>,
    pub(super) body: Bytes,
}

/// Connections to one server.
#[derive(Clone)]
pub(super) struct Transport {
    http: Http<Connector, Full<Bytes>>,
    endpoint: Endpoint,
    pub(super) scope: Scope,
    pub(super) keys: Keys,
    /// The timeout of a call, retries included.
    pub(super) timeout: Duration,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The delays between attempts, with jitter to spread the callers of a server that restarts.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(15))
    .with_max_delay(Duration::from_millis(500))
    .with_jitter()
    .without_max_times();
/// The idle timeout of connections, well below the server's.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// The maximum size of an answer in bytes. A page of a thousand instances with all their attributes is smaller.
const MAX_ANSWER: usize = 16 << 20;

impl Transport {
    pub(super) fn new(endpoint: Endpoint, scope: Scope) -> Self {
        Self {
            http: Http::builder(TokioExecutor::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_timer(TokioTimer::new())
                .build(Connector(endpoint.clone())),
            endpoint,
            scope,
            keys: Keys::from_environment(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Sends a call, with retries until the client's timeout; returns the body of a successful answer.
    pub(super) async fn send(&self, call: &Outgoing) -> Result<Bytes, Error> {
        let attempt = async || self.collect(self.open(call).await?, MAX_ANSWER).await;
        let mut retries = Retries::new(self.timeout);
        loop {
            let result = self.within(ATTEMPT_TIMEOUT, attempt()).await;
            match result {
                Err(error) if error.is_transient() => {
                    if !retries.pause().await {
                        return Err(error);
                    }
                    tracing::debug!(%error, target = call.target, "trying again");
                }
                end => return end,
            }
        }
    }

    /// Sends a call once; returns the body of a successful answer as a stream. Connecting has a timeout, the answer has
    /// none.
    pub(super) async fn open(&self, call: &Outgoing) -> Result<Incoming, Error> {
        let response = self.http.request(self.request(call)?).await;
        let response = response.map_err(|error| self.no_answer(&ErrorChain(&error)))?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let (head, body) = response.into_parts();
        let body = self.collect(body, MAX_ANSWER).await?;
        Err(Error::read(head.status, &head.headers, &body))
    }

    /// The full body of an answer, at most `max` bytes.
    pub(super) async fn collect(&self, body: Incoming, max: usize) -> Result<Bytes, Error> {
        let body = Limited::new(body, max).collect().await;
        let body = body.map_err(|error| self.no_answer(&ErrorChain(&*error)))?;
        Ok(body.to_bytes())
    }

    /// Limits `call` to `deadline`.
    pub(super) async fn within<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late = |_| Err(self.no_answer(&format_args!("nothing within {deadline:?}")));
        timeout(deadline, call).await.unwrap_or_else(late)
    }

    fn no_answer(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Transport(format!("no answer from {}: {why}", self.endpoint))
    }

    fn request(&self, call: &Outgoing) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.endpoint, call.target))
            .header(header::HOST, self.endpoint.authority())
            .header(header::USER_AGENT, "tombolo");
        if !call.body.is_empty() {
            let content_type = HeaderValue::from_static(call.content_type);
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(operation) = &call.operation {
            request = request.header("x-amz-target", operation);
        }
        let mut request = request
            .body(Full::from(call.body.clone()))
            .map_err(|error| Error::Protocol(error.to_string()))?;
        let region = &self.scope.region;
        let signed = (self.keys).sign(region, call.service, &mut request, &call.body);
        signed.map(|()| request)
    }
}

/// Retries with growing delays until a deadline.
pub(super) struct Retries {
    deadline: Instant,
    pauses: backon::ExponentialBackoff,
}

impl Retries {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            pauses: BACKOFF.build(),
        }
    }

    /// Waits before the next attempt. Returns `false` at once if the deadline would pass.
    pub(super) async fn pause(&mut self) -> bool {
        let pause = self.pauses.next().unwrap_or_default();
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}
