//! The listener: connections in, calls to their doors, answers out.

mod admission;
mod body;
mod connections;
mod stalls;
mod tls;

pub use tls::Tls;

use crate::{
    access::{Credentials, door_target, is_reading, operator_target},
    appmesh, cloudmap, random,
    sigv4::Refusal,
    sts,
    wire::{Call, Door, Failure},
};
use admission::foreign_origin;
use axum::{Router, body::Body, routing::MethodRouter};
use body::Budget;
use http::{Request, Response, StatusCode, request::Parts};
use hyper_util::service::TowerToHyperService;
use std::{future::Future, io, time::Duration};
use tokio::net::TcpListener;
use tombolo_model::Scope;
use tombolo_store::Store;

/// The service that signatures for our own paths are made for.
pub(crate) const OPERATOR_SERVICE: &str = "tombolo";
/// Most bytes that a verified operator may send: a state to import.
const MAX_OPERATOR_BODY: usize = 1 << 30;

/// What a server needs to know beside its store.
#[derive(Clone, Debug)]
pub struct Config {
    /// The account that all callers belong to: twelve digits.
    pub account: String,
    /// The region of calls that carry no signature.
    pub default_region: String,
    /// Most bytes of a request body. The largest legal inputs are specs of a few hundred kilobytes.
    pub max_body_bytes: usize,
    /// Most bytes of all request bodies at a time; callers beyond are told to come back.
    pub max_bodies_bytes: usize,
    /// Most connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// How long a caller may take to send a request's head or body, and to take any part of an answer. Idle
    /// connections are closed after it.
    pub read_timeout: Duration,
    /// How long calls in progress may go on once the server is told to stop.
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

/// All doors behind one address. Clones share the store, so that several listeners can be served.
#[derive(Clone)]
pub struct Server {
    store: Store,
    config: Config,
    default_scope: Scope,
    /// Everything that is not an AWS call.
    routes: Router,
    /// What of it anybody may ask.
    open_routes: Vec<&'static str>,
    /// Without them any caller is believed.
    credentials: Option<Credentials>,
    tls: Option<Tls>,
    bodies: Budget,
}

impl Server {
    /// A server over a store. The error says which name in the configuration is not legal.
    pub fn new(store: Store, config: Config) -> Result<Self, String> {
        Ok(Self {
            default_scope: Scope::parse(&config.account, &config.default_region)?,
            routes: Router::new().fallback(unknown_path),
            open_routes: Vec::new(),
            credentials: None,
            tls: None,
            bodies: Budget::new(config.max_bodies_bytes),
            store,
            config,
        })
    }

    /// Adds paths that are not AWS calls, such as a console. `routes` must not have a fallback. AWS calls
    /// go before: a route for `POST /` sees only those that no AWS client sends.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// As [`Server::with_routes`], for one path that is answered without a signature too: what load balancers
    /// and Kubernetes ask, which cannot sign.
    #[must_use]
    pub fn with_open_route(mut self, path: &'static str, route: MethodRouter) -> Self {
        self.routes = self.routes.route(path, route);
        self.open_routes.push(path);
        self
    }

    /// Verifies every caller: a signature by one of these keys, and a policy that allows the call. Paths
    /// that are not AWS calls are signed for the service `tombolo`, and are the actions `tombolo:Read` and
    /// `tombolo:Write`. Without this, any credentials are accepted (development mode).
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
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
        if self.credentials.is_none()
            && let Some(origin) = foreign_origin(&parts.headers)
        {
            let failure = Failure::new(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                format!("web pages of {origin} may not call a server in development mode"),
            );
            return Door::AppMesh.failure(&failure, &random::uuid());
        }
        let Some(door) = Door::of(&parts) else {
            return self.answer_operator(Request::from_parts(parts, body)).await;
        };
        let request_id = random::uuid();
        match self.answer(door, &parts, body, &request_id).await {
            Ok(body) => door.success(body, &request_id),
            Err(failure) => {
                tracing::debug!(
                    service = door.service(),
                    method = %parts.method,
                    path = parts.uri.path(),
                    request_id,
                    code = failure.code,
                    // What follows about signatures shows what was signed, session tokens too.
                    why = failure.message.lines().next(),
                    "call refused"
                );
                door.failure(&failure, &request_id)
            }
        }
    }

    async fn answer(
        &self,
        door: Door,
        request: &Parts,
        body: Body,
        request_id: &str,
    ) -> Result<Vec<u8>, Failure> {
        let refused = |refusal: Refusal| refusal.at(door);
        let caller = self.admit(door.service(), request).map_err(refused)?;
        let (most, patience) = (self.config.max_body_bytes, self.config.read_timeout);
        let held = self.bodies.read(body, most, patience).await?;
        let body = caller
            .confirm(request, held.bytes.clone())
            .map_err(refused)?;
        door.check_headers(&request.headers, &body)?;
        let target = || door_target(door, request, &body, &caller.scope);
        caller.authorize(target).map_err(refused)?;
        let call = Call {
            store: &self.store,
            user: caller.user(),
            scope: caller.scope,
            access_key: caller.access_key,
            request_id,
            request,
            body,
        };
        match door {
            Door::CloudMap => cloudmap::answer(&call).await,
            Door::AppMesh => appmesh::answer(&call).await,
            Door::Sts => sts::answer(&call),
        }
    }

    /// Answers what is no AWS call. Where callers are verified, they sign these too.
    async fn answer_operator(&self, request: Request<Body>) -> Response<Body> {
        let is_open = self.open_routes.contains(&request.uri().path());
        let request = if self.credentials.is_some() && !is_open {
            match self.verify_operator(request).await {
                Ok(request) => request,
                Err(failure) => return Door::AppMesh.failure(&failure, &random::uuid()),
            }
        } else {
            request
        };
        let routes = TowerToHyperService::new(self.routes.clone());
        match hyper::service::Service::call(&routes, request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn verify_operator(&self, request: Request<Body>) -> Result<Request<Body>, Failure> {
        let refused = |refusal: Refusal| refusal.at(Door::AppMesh);
        let (parts, body) = request.into_parts();
        let caller = self.admit(OPERATOR_SERVICE, &parts).map_err(refused)?;
        let authorize = || {
            let target = || Some(operator_target(&parts, &caller.scope));
            caller.authorize(target).map_err(refused)
        };
        let patience = self.config.read_timeout;
        // Bodies beyond all bounds are for those alone who may change everything anyway.
        let body = if caller.is_confirmed() && !is_reading(&parts) {
            authorize()?;
            let body = body::read_trusted(body, MAX_OPERATOR_BODY, patience).await?;
            caller.confirm(&parts, body).map_err(refused)?
        } else {
            let most = self.config.max_body_bytes;
            let held = self.bodies.read(body, most, patience).await?;
            let body = caller.confirm(&parts, held.bytes).map_err(refused)?;
            authorize()?;
            body
        };
        Ok(Request::from_parts(parts, Body::from(body)))
    }
}

async fn unknown_path() -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
    (
        StatusCode::NOT_FOUND,
        [("content-type", "application/json")],
        r#"{"__type":"UnknownOperationException","message":"nothing answers at this path"}"#,
    )
}
