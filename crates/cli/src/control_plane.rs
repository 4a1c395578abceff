//! A control plane by its AWS APIs: the choice of the server, and its resources as a backend.

use crate::{
    DEFAULT_ACCOUNT, DEFAULT_REGION, apply,
    backend::{Backend, Found, Query},
    delete as deletion,
    error::{Error, Result},
    local::RunArgs,
    progress::during,
    resource::{
        self,
        filter::Filter,
        lookup::Lookup,
        selection::{self, Selected, Target},
        view::ResourceView,
    },
};
use std::time::Duration;
use tokio::time::timeout;
use tombolo_api::client::{Client, Endpoint};
use tombolo_local::control_socket::Selector;
use tombolo_model::Scope;

/// Deadline of a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The default endpoint.
const DEFAULT_URL: &str = "http://127.0.0.1:8490";

/// Options of commands about resources of a control plane.
#[derive(clap::Args)]
pub(crate) struct ApiArgs {
    /// A control plane by its address, instead of a running `tombolo up`; https:// where it speaks TLS. Where
    /// nothing is up, the one at http://127.0.0.1:8490.
    #[arg(long, value_name = "URL", env = "TOMBOLO_API")]
    api: Option<String>,
    /// The region of the resources; us-west-2 where nothing says otherwise.
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    region: Option<String>,
}

/// A server that accepts connections, and the account and region of the resources.
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) scope: Scope,
}

impl Server {
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.endpoint.to_string(), self.scope.clone())?)
    }
}

impl ApiArgs {
    /// Whether a command is about resources of a control plane rather than objects of running clusters.
    pub(crate) fn is_selected(&self, run: &RunArgs) -> bool {
        self.address().is_some() || run.client().is_err()
    }

    /// An empty variable counts as unset.
    fn address(&self) -> Option<&str> {
        self.api.as_deref().filter(|address| !address.is_empty())
    }

    /// The endpoint of the option or the environment, if there is one.
    ///
    /// # Errors
    /// The address is invalid.
    pub(crate) fn named(&self) -> Result<Option<Endpoint>> {
        Ok(self.address().map(str::parse).transpose()?)
    }

    /// The region of an option or the environment, or the default one.
    pub(crate) fn region(&self) -> String {
        let variable = || std::env::var("AWS_DEFAULT_REGION").ok();
        let region = self.region.clone().filter(|region| !region.is_empty());
        let region = region.or_else(variable).filter(|region| !region.is_empty());
        region.unwrap_or_else(|| DEFAULT_REGION.to_owned())
    }

    /// The server: the one of the options, that of the run, or the default one.
    ///
    /// # Errors
    /// There is no server.
    pub(crate) async fn server(&self, run: &RunArgs) -> Result<Server> {
        if let Some(endpoint) = self.named()? {
            return self.at(endpoint, None).await;
        }
        match run.client() {
            Ok(client) => {
                let info = client.info().await?;
                Ok(Server {
                    endpoint: info.api.parse()?,
                    scope: Scope::parse(&info.account, &info.region)
                        .map_err(|error| Error::usage(error.to_string()))?,
                })
            }
            Err(no_run) => self.at(DEFAULT_URL.parse()?, Some(no_run)).await,
        }
    }

    /// The server at an endpoint; `no_run` is the reason why the default one is used.
    async fn at(&self, endpoint: Endpoint, no_run: Option<Error>) -> Result<Server> {
        let no_answer = |why: &dyn std::fmt::Display| {
            Error::Unreachable(match &no_run {
                None => format!("no server answers at {endpoint}: {why}"),
                Some(no_run) => format!(
                    "{no_run}; and no server answers at {endpoint}: name one with --api URL"
                ),
            })
        };
        match timeout(CONNECT, endpoint.connect()).await {
            Err(_) => return Err(no_answer(&"no connection in time")),
            Ok(Err(error)) => return Err(no_answer(&error)),
            Ok(Ok(_)) => {}
        }
        // Only the region matters: the server knows its account.
        let scope = Scope::parse(DEFAULT_ACCOUNT, &self.region())
            .map_err(|error| Error::usage(error.to_string()))?;
        Ok(Server { endpoint, scope })
    }
}

/// The resources of a control plane. The first call connects, so that invalid arguments are reported first.
pub(crate) struct ControlPlane<'a> {
    api: &'a ApiArgs,
    run: &'a RunArgs,
    filter: Filter,
}

impl<'a> ControlPlane<'a> {
    pub(crate) fn new(api: &'a ApiArgs, run: &'a RunArgs, filter: Filter) -> Self {
        Self { api, run, filter }
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// A connection to the server, with an empty cache.
    pub(crate) async fn lookup(&self) -> Result<Lookup> {
        Ok(Lookup::new(self.api.server(self.run).await?.client()?))
    }

    /// Parses arguments of the command line.
    pub(crate) fn targets(&self, query: &Query<'_>) -> Result<Vec<Target>> {
        let targets = selection::read(query.kind, query.names);
        targets.map_err(|error| match (self.api.address(), self.run.client()) {
            // Kubernetes kinds only exist in a run.
            (None, Err(no_run)) => Error::usage(format!("{no_run}; without one: {error}")),
            _ => error,
        })
    }

    /// The resources that targets select, and messages about missing ones.
    pub(crate) async fn select(
        &self,
        lookup: &Lookup,
        targets: &[Target],
    ) -> Result<(Vec<ResourceView>, Vec<String>)> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for target in targets {
            let selected = selection::find(lookup, &self.filter, target);
            match during("reading", selected).await? {
                Selected::Found(more) => found.extend(more),
                Selected::Missing(what) => missing.push(what),
            }
        }
        Ok((found, missing))
    }
}

impl Backend for ControlPlane<'_> {
    const POLL: Duration = Duration::from_secs(1);

    async fn find(&self, query: &Query<'_>) -> Result<Found> {
        let targets = self.targets(query)?;
        let tags = query.selector.map(Selector::read).transpose();
        let tags = tags.map_err(|refusal| Error::usage(refusal.message))?;
        let (mut found, missing) = self.select(&self.lookup().await?, &targets).await?;
        found.retain(|it| tags.as_ref().is_none_or(|tags| tags.matches(&it.tags)));
        Ok(Found {
            objects: found.iter().map(resource::object).collect(),
            missing,
            is_single: !matches!(targets.as_slice(), [] | [_, _, ..] | [Target::All(_)]),
            has_clusters: false,
        })
    }

    async fn apply(&self, files: apply::Files, options: &apply::Options) -> Result<()> {
        apply::apply_resources(self, &files, options).await
    }

    async fn delete(
        &self,
        objects: deletion::Objects<'_>,
        options: &deletion::Options,
    ) -> Result<()> {
        deletion::delete_resources(self, objects, options).await
    }
}
