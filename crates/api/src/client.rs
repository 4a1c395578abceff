//! A client of the APIs, for controllers and commands.
//!
//! It sends what an AWS SDK would send, so that the APIs are used the way their other callers use them, and
//! writes the same operations that the server reads. Its inputs and outputs are the nouns of `tombolo_model`.
//! Calls are signed with the [`Keys`] of the environment, unless others are given. The same connections serve
//! the operator API, whose client (`tombolo_operator::Client`) knows its types.
//!
//! The server may be restarting: connections that fail and answers that ask to come back are retried,
//! with growing pauses, as long as the client's timeout lasts. A retried deletion whose first answer
//! was lost finds nothing left to delete, so treat [`Error::is_not_found`] as done there.
//!
//! Read first: [`Client`].

mod appmesh;
mod cloudmap;
mod endpoint;
mod error;
mod signature;
mod transport;

pub use crate::cloudmap::HealthFilter;
pub use appmesh::{Resource, ResourceRef};
pub use cloudmap::{Discover, Discovered, Instance, Namespace, Operation, Service};
pub use endpoint::{Endpoint, Stream};
pub use error::Error;
pub use signature::Keys;

use crate::{service::OPERATOR_SERVICE, service::Service as AwsService, sts, wire::Protocol};
use bytes::Bytes;
use http::Method;
use hyper::body::Incoming;
use std::{env, sync::Arc, time::Duration};
use tombolo_model::Scope;
use transport::{Outgoing, Transport};

/// A handle on a server; clones share its connections. Needs a tokio runtime.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// A client of the server at `endpoint`, for example `http://127.0.0.1:8490` (see [`Endpoint`]). Nothing is
    /// sent yet. The scope's region goes into each call; the account is the server's own.
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub fn new(endpoint: &str, scope: Scope) -> Result<Self, Error> {
        Ok(Self {
            transport: Arc::new(Transport::new(endpoint.parse()?, scope)),
        })
    }

    /// A client for the region in `AWS_REGION` or `AWS_DEFAULT_REGION`, else `default_region`.
    ///
    /// # Errors
    /// [`Error::Endpoint`]: the region is none.
    pub fn from_environment(endpoint: Endpoint, default_region: &str) -> Result<Self, Error> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.as_deref().unwrap_or(default_region);
        // The account is the server's own; here it only has to be one.
        let scope = Scope::parse("000000000000", region);
        let scope = scope.map_err(|error| Error::Endpoint(error.to_string()))?;
        Ok(Self {
            transport: Arc::new(Transport::new(endpoint, scope)),
        })
    }

    /// The same client with another timeout: how long a call is repeated before it fails. 30 seconds
    /// unless changed here.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.changed(|transport| transport.timeout = timeout)
    }

    /// The same client with other keys than those of the environment.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        self.changed(|transport| transport.keys = keys)
    }

    fn changed(mut self, change: impl FnOnce(&mut Transport)) -> Self {
        change(Arc::make_mut(&mut self.transport));
        self
    }

    /// The scope of its calls.
    pub fn scope(&self) -> &Scope {
        &self.transport.scope
    }

    /// The account that the server puts this caller into.
    pub async fn account(&self) -> Result<String, Error> {
        let call = Outgoing {
            service: AwsService::Sts.signing_name(),
            content_type: Protocol::Query.request_type(),
            method: Method::POST,
            target: "/".into(),
            operation: None,
            body: Bytes::from_static(sts::Operation::GetCallerIdentity.form().as_bytes()),
        };
        let answer = self.transport.send(&call).await?;
        let account = sts::account(&String::from_utf8_lossy(&answer)).map(str::to_owned);
        account.ok_or_else(|| Error::Protocol("the identity names no account".into()))
    }

    /// Sends a request for one of the server's own paths, such as its status, once. Answers with the body of its
    /// success, still on its way. Only connecting has a deadline.
    pub async fn open(
        &self,
        method: Method,
        target: String,
        body: Bytes,
    ) -> Result<Incoming, Error> {
        let call = Outgoing {
            service: OPERATOR_SERVICE,
            content_type: Protocol::Operator.request_type(),
            method,
            target,
            operation: None,
            body,
        };
        self.transport.open(&call).await
    }

    /// As [`Client::open`], with the whole body of the answer: at most `max` bytes, within `deadline`.
    pub async fn fetch(
        &self,
        method: Method,
        target: String,
        body: Bytes,
        max: usize,
        deadline: Duration,
    ) -> Result<Bytes, Error> {
        let transport = &self.transport;
        let call = async {
            let body = self.open(method, target, body).await?;
            transport.collect(body, max).await
        };
        transport.within(deadline, call).await
    }
}

/// Pages of one list: a million items.
const MAX_PAGES: usize = 10_000;

/// A list that comes page by page. A server whose list does not end is wrong.
#[derive(Default)]
struct Pages {
    token: Option<String>,
    count: usize,
    is_complete: bool,
}

impl Pages {
    /// The token of the next page; none after the last one.
    fn next(&mut self) -> Option<Option<String>> {
        (!self.is_complete).then(|| self.token.clone())
    }

    /// Takes what the page says about the page after it.
    fn turn(&mut self, next: Option<String>) -> Result<(), Error> {
        self.count += 1;
        if next.is_some() && (next == self.token || self.count == MAX_PAGES) {
            return Err(Error::Protocol("a list has no end".into()));
        }
        self.is_complete = next.is_none();
        self.token = next;
        Ok(())
    }
}
