//! A client of the doors, for whoever acts on behalf of a cluster.
//!
//! It sends what an AWS SDK would send, so that the doors are used the way their other callers use them;
//! its inputs and outputs are the nouns of `tombolo_model`. Calls are signed with the [`Keys`] of the
//! environment, unless others are given.
//!
//! The server may be restarting: connections that fail and answers that ask to come back are retried,
//! with growing pauses, as long as the client's patience lasts. A retried deletion whose first answer
//! was lost finds nothing left to delete, so treat [`Error::is_not_found`] as done there.
//!
//! Read first: [`Client`].

mod endpoint;
mod error;
mod instance;
mod mesh;
mod namespace;
mod operation;
mod registry;
mod service;
mod signature;
mod transport;

pub use endpoint::{Endpoint, Stream};
pub use error::Error;
pub use instance::{Discover, Discovered, Instance};
pub use mesh::{Resource, ResourceRef};
pub use namespace::Namespace;
pub use operation::Operation;
pub use service::Service;
pub use signature::Keys;

use crate::wire::Door;
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

    /// The same client with another patience: how long a call is retried before it fails. 30 seconds
    /// unless changed here.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            transport: Arc::new(self.transport.with_patience(patience)),
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
        let answer = self
            .transport
            .send(&Outgoing {
                door: None,
                method: Method::GET,
                target: crate::STATUS_PATH.into(),
                operation: None,
                body: Vec::new(),
            })
            .await?;
        let status: serde_json::Value =
            serde_json::from_slice(&answer).map_err(|error| Error::Protocol(error.to_string()))?;
        Ok(status["synced"] == true)
    }

    /// The account that the server puts this caller into.
    pub async fn account(&self) -> Result<String, Error> {
        let answer = self
            .transport
            .send(&Outgoing {
                door: Some(Door::Sts),
                method: Method::POST,
                target: "/".into(),
                operation: None,
                body: b"Action=GetCallerIdentity&Version=2011-06-15".to_vec(),
            })
            .await?;
        let text = String::from_utf8_lossy(&answer);
        text.split_once("<Account>")
            .and_then(|(_, rest)| rest.split_once("</Account>"))
            .map(|(account, _)| account.to_owned())
            .ok_or_else(|| Error::Protocol("the identity names no account".into()))
    }
}
