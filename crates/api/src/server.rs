//! The listener: connections in, calls to their doors, answers out.

mod connections;

use crate::{
    appmesh, cloudmap, random, sts,
    wire::{Call, Door, Failure, authorization},
};
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::service::TowerToHyperService;
use std::{future::Future, io, time::Duration};
use tokio::{net::TcpListener, time::timeout};
use tombolo_model::Scope;
use tombolo_store::Store;

/// What a server needs to know beside its store.
#[derive(Clone, Debug)]
pub struct Config {
    /// The account that all callers belong to: twelve digits.
    pub account: String,
    /// The region of calls that carry no signature.
    pub default_region: String,
    /// Most bytes of a request body. The largest legal inputs are specs of a few hundred kilobytes.
    pub max_body_bytes: usize,
    /// Most connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// How long a caller may take to send a request's head or body. Idle connections are closed after it.
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
}

impl Server {
    /// A server over a store. The error says which name in the configuration is not legal.
    pub fn new(store: Store, config: Config) -> Result<Self, String> {
        Ok(Self {
            default_scope: Scope::parse(&config.account, &config.default_region)?,
            routes: Router::new().fallback(unknown_path),
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
        let Some(door) = Door::of(&parts) else {
            let routes = TowerToHyperService::new(self.routes.clone());
            let request = Request::from_parts(parts, body);
            return match hyper::service::Service::call(&routes, request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
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
                    message = failure.message,
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
        let credential =
            authorization::credential(request, door).map_err(|refusal| refusal.at(door))?;
        let scope = match &credential {
            Some(credential) if credential.region != *self.default_scope.region => {
                Scope::parse(&self.config.account, &credential.region)
                    .map_err(|why| authorization::Refusal::Incomplete(why).at(door))?
            }
            _ => self.default_scope.clone(),
        };
        let call = Call {
            store: &self.store,
            scope,
            access_key: credential.map(|credential| credential.access_key),
            request_id,
            request,
            body: self.read(body).await?,
        };
        match door {
            Door::CloudMap => cloudmap::answer(&call).await,
            Door::AppMesh => appmesh::answer(&call).await,
            Door::Sts => sts::answer(&call),
        }
    }

    async fn read(&self, body: Body) -> Result<Bytes, Failure> {
        let most = self.config.max_body_bytes;
        let whole = Limited::new(body, most).collect();
        match timeout(self.config.read_timeout, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLargeException",
                format!("the body has more than {most} bytes"),
            )),
            Ok(Err(error)) => Err(Failure::serialization(format!(
                "the body ended early: {error}"
            ))),
            Err(_) => Err(Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeoutException",
                "the body did not arrive in time",
            )),
        }
    }
}

async fn unknown_path() -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
    (
        StatusCode::NOT_FOUND,
        [("content-type", "application/json")],
        r#"{"__type":"UnknownOperationException","message":"nothing answers at this path"}"#,
    )
}
