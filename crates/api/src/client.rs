//! A client of the APIs, for whoever acts on behalf of a cluster.
//!
//! It sends what an AWS SDK would send, so that the APIs are used the way their other callers use them, and
//! writes the same operations that the server reads. Its inputs and outputs are the nouns of `tombolo_model`.
//! Calls are signed with the [`Keys`] of the
//! environment, unless others are given.
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

use crate::{
    service::{self, OPERATOR_SERVICE},
    sts,
    wire::Protocol,
};
use http::Method;
use std::{sync::Arc, time::Duration};
use tombolo_model::Scope;
use transport::{Outgoing, Transport};

/// A handle on a server; clones share its connections. Needs a tokio runtime.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// A client of the server at `endpoint`, for example `http://127.0.0.1:8490` (see [`Endpoint`]). Nothing is
    /// sent yet.
    /// The scope's region goes into each call; the account is the server's own.
    pub fn new(endpoint: &str, scope: Scope) -> Result<Self, Error> {
        let transport = Transport::new(endpoint, scope)?;
        Ok(Self {
            transport: Arc::new(transport),
        })
    }

    /// The same client with another timeout: how long a call is retried before it fails. 30 seconds
    /// unless changed here.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self {
            transport: Arc::new(self.transport.with_timeout(timeout)),
        }
    }

    /// The same client with other keys than those of the environment.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        Self {
            transport: Arc::new(self.transport.with_keys(keys)),
        }
    }

    /// The scope of its calls.
    pub fn scope(&self) -> &Scope {
        self.transport.scope()
    }

    /// Whether every change is published and every connected proxy has acknowledged what it should
    /// hold. Not an AWS call: see [`crate::STATUS_PATH`].
    pub async fn synced(&self) -> Result<bool, Error> {
        Ok(self.status().await?["synced"] == true)
    }

    async fn status(&self) -> Result<serde_json::Value, Error> {
        let answer = self.transport.send(Outgoing {
            service: OPERATOR_SERVICE,
            content_type: Protocol::Operator.request_type(),
            method: Method::GET,
            target: crate::STATUS_PATH.into(),
            operation: None,
            body: Vec::new(),
        });
        serde_json::from_slice(&answer.await?).map_err(protocol)
    }

    /// What the mesh asks for and proxies do not do, by workload. Not an AWS call: see [`crate::STATUS_PATH`].
    pub async fn warnings(&self) -> Result<Vec<(String, Vec<String>)>, Error> {
        let status = self.status().await?;
        let texts = |value: &serde_json::Value| {
            let warnings = value.as_array().into_iter().flatten();
            warnings
                .filter_map(|warning| warning["message"].as_str().map(str::to_owned))
                .collect()
        };
        let warnings = status["warnings"].as_array().into_iter().flatten();
        let warnings = warnings.map(|warning| {
            let workload = warning["workload"].as_str().unwrap_or_default();
            (workload.to_owned(), texts(&warning["warnings"]))
        });
        Ok(warnings.collect())
    }

    /// The account that the server puts this caller into.
    pub async fn account(&self) -> Result<String, Error> {
        let answer = self.transport.send(Outgoing {
            service: service::Service::Sts.signing_name(),
            content_type: Protocol::Query.request_type(),
            method: Method::POST,
            target: "/".into(),
            operation: None,
            body: sts::Operation::GetCallerIdentity.form().into(),
        });
        let answer = answer.await?;
        let account = sts::account(&String::from_utf8_lossy(&answer)).map(str::to_owned);
        account.ok_or_else(|| Error::Protocol("the identity names no account".into()))
    }
}

/// Most pages of one list: a million items.
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

/// An answer that is not what the operation answers.
fn protocol(error: serde_json::Error) -> Error {
    Error::Protocol(error.to_string())
}
