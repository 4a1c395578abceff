//! Which server a command about resources is sent to.

use super::look::Look;
use crate::command::{
    DEFAULT_ACCOUNT, DEFAULT_REGION,
    run::{Run, api_of},
};
use std::time::Duration;
use tokio::time::timeout;
use tombolo_api::client::{Client, Endpoint, Error};
use tombolo_model::Scope;

/// How long a connection may take before the server is said not to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Where a server listens that was told nothing else.
const USUAL: &str = "http://127.0.0.1:8490";

/// Options of commands about resources of a control plane.
#[derive(clap::Args)]
pub(crate) struct Api {
    /// A control plane by its address, instead of a running `tombolo up`; https:// where it speaks TLS. Where
    /// nothing is up, the one at http://127.0.0.1:8490.
    #[arg(long, value_name = "URL", env = "TOMBOLO_API")]
    api: Option<String>,
    /// The region of the resources; us-west-2 where nothing says otherwise.
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    region: Option<String>,
}

impl Api {
    /// Whether the resources of a control plane are meant, not the objects of clusters that are up.
    pub(crate) fn is_meant(&self, run: &Run) -> bool {
        self.address().is_some() || self.no_run(run).is_some()
    }

    /// Why no run answers, where no server is named.
    pub(crate) fn no_run(&self, run: &Run) -> Option<String> {
        match self.address() {
            Some(_) => None,
            None => run.client().err(),
        }
    }

    /// An empty variable says as much as none.
    fn address(&self) -> Option<&str> {
        self.api.as_deref().filter(|address| !address.is_empty())
    }

    /// The server: the one named, that of the run, or the usual one.
    pub(crate) async fn look(&self, run: &Run) -> Result<Look, String> {
        if let Some(address) = self.address() {
            return self.at(address, None).await;
        }
        match run.client() {
            Ok(client) => {
                let info = client.info().await.map_err(|error| error.to_string())?;
                Ok(Look::new(api_of(&info)?))
            }
            Err(none) => self.at(USUAL, Some(none)).await,
        }
    }

    /// The server at an address, which nobody named when there was `no_run`.
    async fn at(&self, address: &str, no_run: Option<String>) -> Result<Look, String> {
        let endpoint: Endpoint = address.parse()?;
        let no_answer = |why: &dyn std::fmt::Display| match &no_run {
            None => format!("no server answers at {endpoint}: {why}"),
            Some(none) => {
                format!("{none}; and no server answers at {endpoint}: name one with --api URL")
            }
        };
        match timeout(CONNECT, endpoint.connect()).await {
            Err(_) => return Err(no_answer(&"no connection in time")),
            Ok(Err(error)) => return Err(no_answer(&error)),
            Ok(Ok(_)) => {}
        }
        // The account is the server's own; here it only has to be one.
        let usual = || std::env::var("AWS_DEFAULT_REGION").ok();
        let region = self.region.clone().or_else(usual);
        let region = region.filter(|region| !region.is_empty());
        let region = region.as_deref().unwrap_or(DEFAULT_REGION);
        let scope = Scope::parse(DEFAULT_ACCOUNT, region)?;
        let client = Client::new(&endpoint.to_string(), scope);
        client.map(Look::new).map_err(|error| error.to_string())
    }
}

/// What a failed call says, and where the caller's credentials came from when they are at fault.
pub(crate) fn told(error: &Error) -> String {
    match error.code() {
        Some(
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "ExpiredTokenException",
        ) => format!(
            "{error} (the credentials are those in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the region is \
             that of --region or in AWS_REGION)"
        ),
        _ => error.to_string(),
    }
}
