//! A client of the APIs, for controllers and commands.
//!
//! It sends the same requests as an AWS SDK, from the same operation types that the server parses. Its inputs and
//! outputs are types of `tombolo_model`. Calls are signed with the [`Keys`] of the environment unless others are given.
//! The same connections serve the operator API, whose client (`tombolo_operator::Client`) has its types.
//!
//! Failed connections and temporary errors are retried with growing delays until the client's timeout, because the
//! server may be restarting. A deletion that is retried after its answer was lost fails with
//! [`Error::is_not_found`], so treat that as success.
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

/// A client of one server; clones share its connections. Needs a tokio runtime.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// A client of the server at `endpoint`, for example `http://127.0.0.1:8490` (see [`Endpoint`]). Does not connect
    /// yet. The scope's region is sent with each call; the server determines the account.
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
    /// [`Error::Endpoint`] if the region is not valid.
    pub fn from_environment(endpoint: Endpoint, default_region: &str) -> Result<Self, Error> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.as_deref().unwrap_or(default_region);
        // The server determines the account; this one only has to be valid.
        let scope = Scope::parse("000000000000", region);
        let scope = scope.map_err(|error| Error::Endpoint(error.to_string()))?;
        Ok(Self {
            transport: Arc::new(Transport::new(endpoint, scope)),
        })
    }

    /// The same client with another timeout of calls, retries included. The default is 30 seconds.
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

    /// The account of this caller, according to the server.
    pub async fn account(&self) -> Result<String, Error> {
        let call = Outgoing {
            service: AwsService::Sts.signing_name(),
            content_type: Protocol::Query.request_type(),
            method: Method::POST,
            target: "/".into(),
            operation: None,
            body: Bytes::from_static(sts::CALLER_IDENTITY_FORM.as_bytes()),
        };
        let answer = self.transport.send(&call).await?;
        let account = sts::account(&String::from_utf8_lossy(&answer)).map(str::to_owned);
        account.ok_or_else(|| Error::Protocol("the identity names no account".into()))
    }

    /// Sends a request of the operator API once, without retries. Returns the body of a successful answer as a
    /// stream. Only connecting has a timeout.
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

    /// As [`Client::open`], but returns the full body of the answer: at most `max` bytes, within `deadline`.
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

/// The greatest number of pages of a list; with 100 items per page, a million items.
const MAX_PAGES: usize = 10_000;

/// The pagination of a list. A list that does not end is an error of the server.
#[derive(Default)]
struct Pages {
    token: Option<String>,
    count: usize,
    is_complete: bool,
}

impl Pages {
    /// The token of the next page, which the first page does not have; `None` after the last page.
    fn next(&mut self) -> Option<Option<String>> {
        (!self.is_complete).then(|| self.token.clone())
    }

    /// Advances to the next page, with the token in the current one.
    fn advance(&mut self, next: Option<String>) -> Result<(), Error> {
        self.count += 1;
        if next.is_some() && (next == self.token || self.count == MAX_PAGES) {
            return Err(Error::Protocol("a list has no end".into()));
        }
        self.is_complete = next.is_none();
        self.token = next;
        Ok(())
    }
}
