//! The HTTP server of the APIs.

mod admission;
mod body;
mod connections;
mod tls;
mod write_timeout;

pub(crate) use admission::now;
pub use tls::Tls;

use crate::{
    access::{Credentials, OperatorAction, SessionKeys},
    call::Call,
    eks::Clusters,
    error::ApiError,
    metrics::Metrics,
    operation::{Operation, absent_service},
    random,
    service::{OPERATOR_SERVICE, Route, Service},
    sigv4::AuthError,
    sts,
    wire::Protocol,
};
use admission::foreign_origin;
use axum::{Router, body::Body, routing::MethodRouter};
use body::{Budget, Limits};
use http::{HeaderValue, Request, Response, StatusCode, request::Parts};
use std::{
    borrow::Cow,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tombolo_model::{InvalidScope, Scope};
use tombolo_store::Store;
use tombolo_telemetry::{ErrorChain, RequestId, metrics::Registry};

/// The maximum size of a verified operator's body in bytes, for imports of a full state.
const MAX_OPERATOR_BODY: usize = 1 << 30;
/// Bytes that a caller without keys may send: a token to get some for.
const MAX_ANONYMOUS_BODY: usize = 64 << 10;

/// The account, limits and timeouts of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The account of all callers in development mode: twelve digits.
    pub account: String,
    /// The region of calls without a signature.
    pub default_region: String,
    /// Maximum size of a request body in bytes. The largest valid inputs are specs of a few hundred kilobytes.
    pub max_body_bytes: usize,
    /// Maximum size of all request bodies in memory, in bytes; further calls are answered with 503.
    pub max_bodies_bytes: usize,
    /// Maximum number of connections; further ones wait in the kernel's accept queue.
    pub max_connections: usize,
    /// The timeout of a request's head, of its body, of each write of an answer, and of idle connections.
    pub read_timeout: Duration,
    /// The timeout of calls in progress when the server shuts down.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            account: "111122223333".into(),
            default_region: "us-west-2".into(),
            max_body_bytes: 1024 * 1024,
            max_bodies_bytes: 256 * 1024 * 1024,
            max_connections: 10_000,
            read_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

/// The server of all services. Clones share the store, so that several listeners can be served.
#[derive(Clone)]
pub struct Server {
    store: Store,
    config: Config,
    default_scope: Scope,
    /// The routes of the operator API, whose paths are not AWS calls.
    routes: Router,
    /// The paths of `routes` that need no signature.
    open_routes: Vec<&'static str>,
    /// Absent in development mode, in which callers are not verified.
    credentials: Option<Credentials>,
    clusters: Option<Clusters>,
    tls: Option<Tls>,
    bodies: Budget,
    sessions: SessionKeys,
    metrics: Metrics,
}

impl Server {
    /// A server of a store.
    ///
    /// # Errors
    /// The account or the region of the configuration is not valid.
    pub fn new(store: Store, config: Config) -> Result<Self, InvalidScope> {
        Ok(Self {
            default_scope: Scope::parse(&config.account, &config.default_region)?,
            routes: Router::new().fallback(unknown_path),
            open_routes: Vec::new(),
            credentials: None,
            clusters: None,
            tls: None,
            bodies: Budget::new(config.max_bodies_bytes),
            sessions: SessionKeys::new(store.secret().expose()),
            metrics: Metrics::default(),
            store,
            config,
        })
    }

    /// Adds this server's metrics to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Adds routes that are not AWS calls, such as a console. `routes` must not have a fallback. AWS calls have
    /// precedence: a route for `POST /` gets only requests that no AWS client sends.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.routes = self
            .routes
            .merge(routes)
            .method_not_allowed_fallback(unknown_method);
        self
    }

    /// As [`Server::with_routes`], for one path that needs no signature, such as the health checks of load
    /// balancers and Kubernetes, which cannot sign.
    #[must_use]
    pub fn with_open_route(mut self, path: &'static str, route: MethodRouter) -> Self {
        self = self.with_routes(Router::new().route(path, route));
        self.open_routes.push(path);
        self
    }

    /// Verifies every caller: requires a signature by one of these keys, and a policy that allows the call. Calls
    /// of the operator API are signed for the service `tombolo`, and have the actions `tombolo:Read` and
    /// `tombolo:Write`. Without credentials, any caller is accepted (development mode).
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Answers EKS about these clusters.
    #[must_use]
    pub fn with_clusters(mut self, clusters: Clusters) -> Self {
        self.clusters = Some(clusters);
        self
    }

    /// Serves HTTPS instead of HTTP.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Serves a listener until `shutdown` is ready and the calls in progress are answered, or
    /// [`Config::drain`] has passed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        connections::serve(self, listener, shutdown).await
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let request_id = RequestId::new(random::uuid());
        let route = Route::of(&parts);
        let protocol = route.protocol();
        let answer = match (route, self.foreign_origin(&parts)) {
            (_, Some(origin)) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                format!("web pages of {origin} may not call a server in development mode"),
            )),
            (Route::Operator, None) => self.answer_operator(parts.clone(), body).await,
            (Route::Absent(service, _), None) => Err(absent_service(&service, protocol)),
            (Route::Service(service, _), None) => {
                let (begin, mut operation) = (Instant::now(), Cow::Borrowed(""));
                let answer =
                    self.answer(service, protocol, &parts, body, &request_id, &mut operation);
                let answer = answer.await;
                let name = service.signing_name();
                (self.metrics).answered(name, operation, &answer, begin.elapsed());
                answer.map(|body| protocol.success(body))
            }
        };
        let mut answer = answer.unwrap_or_else(|error| {
            log(&error, &parts, &request_id);
            protocol.failure(&error, &request_id)
        });
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            answer.headers_mut().insert("x-amzn-requestid", id);
        }
        answer
    }

    /// In development mode: the origin of a request from a web page that is not this server's own.
    fn foreign_origin(&self, request: &Parts) -> Option<String> {
        match self.credentials {
            Some(_) => None,
            None => foreign_origin(&request.headers),
        }
    }

    /// Authenticates by the head, reads and decodes the body, authorizes, executes, in this order. Sets `name` to
    /// the operation's once it is parsed.
    async fn answer(
        &self,
        service: Service,
        protocol: Protocol,
        request: &Parts,
        body: Body,
        request_id: &RequestId,
        name: &mut Cow<'static, str>,
    ) -> Result<Vec<u8>, ApiError> {
        let refused = |error: AuthError| error.into_api_error(protocol);
        let anonymous = self.admit_anonymous(service, request);
        let is_anonymous = anonymous.is_some();
        let caller = match anonymous {
            Some(caller) => caller,
            None => self
                .admit(service.signing_name(), request)
                .map_err(refused)?,
        };
        let mut limits = self.body_limits();
        if is_anonymous {
            limits.bytes = limits.bytes.min(MAX_ANONYMOUS_BODY);
        }
        let buffered = body::read(body, limits).await?;
        let body = caller
            .confirm(request, buffered.bytes.clone())
            .map_err(refused)?;
        if is_anonymous && !sts::Operation::is_unsigned(request, &body) {
            return Err(refused(AuthError::Missing));
        }
        protocol.check_headers(&request.headers, &body)?;
        let operation = Operation::read(service, protocol, request, &body)?;
        drop((body, buffered));
        *name = operation.name();
        if let Some(user) = caller.user() {
            operation.authorize(user, &caller.scope).map_err(refused)?;
        }
        let call = Call {
            store: &self.store,
            user: caller.user().cloned(),
            scope: caller.scope,
            access_key: caller.access_key,
            clusters: (self.clusters.as_ref()).map_or_else(Arc::default, Clusters::list),
            issuer: sts::Issuer {
                credentials: self.credentials.as_ref(),
                sessions: &self.sessions,
            },
            request_id,
        };
        operation.execute(&call).await
    }

    /// Answers calls of the operator API. If callers are verified, they must sign these calls too.
    async fn answer_operator(&self, parts: Parts, body: Body) -> Result<Response<Body>, ApiError> {
        let is_open = self.open_routes.contains(&parts.uri.path());
        let request = if self.credentials.is_some() && !is_open {
            self.verify_operator(parts, body).await?
        } else {
            Request::from_parts(parts, body)
        };
        let Ok(response) = tower_service::Service::call(&mut self.routes.clone(), request).await;
        Ok(response)
    }

    async fn verify_operator(&self, parts: Parts, body: Body) -> Result<Request<Body>, ApiError> {
        let refused = |error: AuthError| error.into_api_error(Protocol::Operator);
        let caller = self.admit(OPERATOR_SERVICE, &parts).map_err(refused)?;
        let action = OperatorAction::of(&parts);
        let authorize = || match caller.user() {
            Some(user) => action.authorize(user, &caller.scope).map_err(refused),
            None => Ok(()),
        };
        let mut limits = self.body_limits();
        // Only callers who may replace the full state may send larger bodies.
        if caller.is_confirmed() && !action.is_read() {
            authorize()?;
            limits.bytes = MAX_OPERATOR_BODY;
            limits.budget = None;
        }
        let body = body::read(body, limits).await?.bytes;
        let body = caller.confirm(&parts, body).map_err(refused)?;
        authorize()?;
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    /// The limits of a body before the caller is verified.
    fn body_limits(&self) -> Limits<'_> {
        Limits {
            bytes: self.config.max_body_bytes,
            time: self.config.read_timeout,
            budget: Some(&self.bodies),
        }
    }
}

/// Logs an error with its cause, which the caller does not get: failures of the server at level `error`, refusals at
/// `debug`.
fn log(error: &ApiError, request: &Parts, request_id: &RequestId) {
    let (method, path) = (&request.method, request.uri.path());
    let (code, cause) = (error.code, error.cause.as_deref());
    // Further lines of signature errors contain the signed text, with session tokens.
    let message = error.message.lines().next().unwrap_or_default();
    if let Some(cause) = cause {
        let cause = ErrorChain(cause);
        tracing::error!(%method, path = ?path, %request_id, code, %cause, "call failed");
    } else {
        tracing::debug!(%method, path = ?path, %request_id, code, message = ?message, "call refused");
    }
}

async fn unknown_path() -> Response<Body> {
    not_served(StatusCode::NOT_FOUND, "nothing answers at this path")
}

async fn unknown_method() -> Response<Body> {
    let message = "this path does not answer this method";
    not_served(StatusCode::METHOD_NOT_ALLOWED, message)
}

fn not_served(status: StatusCode, message: &str) -> Response<Body> {
    let error = ApiError::new(status, "UnknownOperationException", message);
    Protocol::Operator.failure(&error, &RequestId::new(""))
}
