//! Sending one call, as often as it takes.

use super::{Endpoint, Error, Keys, endpoint::Connector};
use crate::random;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::Client as Http,
    rt::{TokioExecutor, TokioTimer},
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tombolo_model::Scope;
use tombolo_telemetry::ErrorChain;

/// A call, ready to be sent as often as needed.
pub(super) struct Outgoing {
    /// What it is signed for.
    pub(super) service: &'static str,
    /// The type of the body.
    pub(super) content_type: &'static str,
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) target: String,
    /// The value of `X-Amz-Target`.
    pub(super) operation: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Connections to one server.
#[derive(Clone)]
pub(super) struct Transport {
    http: Http<Connector, Full<Bytes>>,
    endpoint: Endpoint,
    scope: Scope,
    keys: Keys,
    timeout: Duration,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Idle connections are closed well before the server would close them.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// A page of a thousand instances with all their attributes stays below this.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

impl Transport {
    pub(super) fn new(endpoint: &str, scope: Scope) -> Result<Self, Error> {
        let endpoint: Endpoint = endpoint.parse().map_err(Error::Endpoint)?;
        Ok(Self {
            http: Http::builder(TokioExecutor::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_timer(TokioTimer::new())
                .build(Connector(endpoint.clone())),
            endpoint,
            scope,
            keys: Keys::from_environment(),
            timeout: DEFAULT_TIMEOUT,
        })
    }

    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    pub(super) fn with_keys(&self, keys: Keys) -> Self {
        Self {
            keys,
            ..self.clone()
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a call and answers with the body of its success.
    pub(super) async fn send(&self, call: Outgoing) -> Result<Bytes, Error> {
        let mut backoff = Backoff::new(self.timeout);
        loop {
            match self.attempt(&call).await {
                Err(error) if error.is_transient() => {
                    if !backoff.pause().await {
                        return Err(error);
                    }
                    tracing::debug!(%error, target = call.target, "trying again");
                }
                end => return end,
            }
        }
    }

    async fn attempt(&self, call: &Outgoing) -> Result<Bytes, Error> {
        let transport = |what: &dyn std::fmt::Display| {
            Error::Transport(format!("no answer from {}: {what}", self.endpoint))
        };
        let exchange = async {
            let response = (self.http.request(self.request(call)?).await)
                .map_err(|error| transport(&ErrorChain(&error)))?;
            let (head, body) = response.into_parts();
            let body = (Limited::new(body, MAX_ANSWER).collect().await)
                .map_err(|error| transport(&error))?
                .to_bytes();
            if head.status.is_success() {
                return Ok(body);
            }
            Err(Error::read(head.status, &head.headers, &body))
        };
        match timeout(ATTEMPT_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(transport(&format_args!(
                "nothing within {ATTEMPT_TIMEOUT:?}"
            ))),
        }
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
        (self
            .keys
            .sign(region, call.service, &mut request, &call.body))
        .map_err(Error::Endpoint)?;
        Ok(request)
    }
}

/// Growing pauses within a bounded time.
pub(super) struct Backoff {
    deadline: Instant,
    pause: Duration,
}

impl Backoff {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits, or answers false when the time would be over. Each pause is half fixed and half random, so
    /// that the callers of a server that comes back do not come all at once.
    pub(super) async fn pause(&mut self) -> bool {
        let half = self.pause / 2;
        let pause = half + half * (random::below(1000) as u32) / 1000;
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}
