//! `tombolo registry sync`: another Cloud Map's namespaces, services and instances, imported and followed.
//!
//! One way: nothing is ever written to the source. What is imported carries a mark that names the source, so that
//! instances which register here are left alone, in the same services too, and an import ends without a trace of it.

mod plan;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::{
    control_plane::ApiArgs,
    error::{Error, Result},
    local::RunArgs,
    terminal,
};
use plan::{Ids, Step};
use snapshot::Snapshot;
use std::{collections::BTreeSet, time::Duration};
use tombolo_api::client::{Client, Endpoint, Keys};
use tombolo_model::Scope;

/// The tag and the attribute that name the source of what was imported.
const MARK: &str = "tombolo.dev/imported-from";

/// Import namespaces, services and instances of another Cloud Map, and follow them.
///
/// Instances that register there, such as ECS tasks, are found here seconds later, beside those that register here.
/// Nothing is written to the source, and nothing that was not imported from it is touched here.
#[derive(clap::Args)]
#[command(after_help = "\
The source is called with the keys in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN;
`aws configure export-credentials --format env` prints them for a profile or a role. It needs
servicediscovery:ListNamespaces, ListServices, ListInstances and GetInstancesHealthStatus. The control
plane is called with those in TOMBOLO_ACCESS_KEY_ID and TOMBOLO_SECRET_ACCESS_KEY where they are set.

What is gone at the source goes here, but for services in which other instances are registered. Later
changes of a service's DNS records or health check are not followed. While the source cannot be read,
everything stays.

Examples:
  tombolo registry sync --from-aws --namespace shop.local --api https://tombolo.example:8490
  tombolo registry sync --from http://127.0.0.1:8500 --once")]
pub(super) struct Sync {
    #[command(flatten)]
    source: Source,
    /// A namespace to import; all of them where none is named. Give it again for more.
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// The VPC label of private DNS namespaces that are made here; the source does not tell its own.
    #[arg(long, value_name = "ID", default_value = "vpc-imported")]
    vpc: String,
    /// Seconds between two looks at the source, from 1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Look once, and end. The exit code is 1 when something could not be imported.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// AWS, in the region of --from-region, or of the control plane.
    #[arg(long)]
    from_aws: bool,
    /// Another Cloud Map API, such as a `tombolo server`, by its address.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

impl Source {
    fn url(&self, region: &str) -> String {
        match &self.from {
            Some(url) => url.clone(),
            None => format!("https://servicediscovery.{region}.amazonaws.com"),
        }
    }
}

impl Sync {
    pub(super) fn run(self) -> Result<i32> {
        crate::block_on(async {
            let server = self.api.server(&self.run).await?;
            let region = self.api.region();
            let endpoint: Endpoint = self.source.url(&region).parse()?;
            if endpoint.authority() == server.endpoint.authority() {
                return Err(Error::usage(format!(
                    "{endpoint} is source and destination"
                )));
            }
            let sides = Sides {
                mark: endpoint.authority().to_owned(),
                source: Client::new(&endpoint.to_string(), scope(&region)?)?,
                destination: server.client()?.with_keys(destination_keys()),
                namespaces: self.namespaces.iter().cloned().collect(),
                vpc: self.vpc.clone(),
            };
            let mut told = BTreeSet::new();
            loop {
                let failures = match sides.follow().await {
                    Ok(failures) => failures,
                    Err(error) if self.once => return Err(error),
                    Err(error) => BTreeSet::from([error.to_string()]),
                };
                // What lasts is said once.
                failures.difference(&told).for_each(terminal::warning);
                if self.once {
                    return Ok(i32::from(!failures.is_empty()));
                }
                told = failures;
                tokio::time::sleep(Duration::from_secs(self.interval)).await;
            }
        })
    }
}

/// Regions alone are told apart: the account is the server's.
fn scope(region: &str) -> Result<Scope> {
    Scope::parse(crate::DEFAULT_ACCOUNT, region).map_err(|error| Error::usage(error.to_string()))
}

/// Keys for the control plane, when they are others than those for the source.
fn destination_keys() -> Keys {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let id = variable("TOMBOLO_ACCESS_KEY_ID");
    match (id, variable("TOMBOLO_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Keys::new(&id, &secret, None),
        _ => Keys::from_environment(),
    }
}

/// Source and destination of an import.
struct Sides {
    /// What names the source.
    mark: String,
    source: Client,
    destination: Client,
    /// Empty: all.
    namespaces: BTreeSet<String>,
    vpc: String,
}

impl Sides {
    /// Brings the destination to where the source is; answers with what failed. The rest is done.
    async fn follow(&self) -> Result<BTreeSet<String>> {
        let is_wanted = |name: &str| self.namespaces.is_empty() || self.namespaces.contains(name);
        let source = Snapshot::read(&self.source, is_wanted, None).await?;
        if source.namespaces.is_empty() {
            // More likely another account's keys than the end of everything.
            return Err(Error::Lookup(format!(
                "{} has none of the namespaces; nothing is changed",
                self.mark
            )));
        }
        let destination = Snapshot::read(&self.destination, is_wanted, Some(&self.mark)).await?;
        let mut ids = Ids::of(&destination);
        let mut failures = BTreeSet::new();
        for step in plan::steps(&source, &destination, &self.mark) {
            match step.run(&self.destination, &mut ids, self).await {
                Ok(()) => terminal::progress(&step),
                Err(error) => {
                    failures.insert(format!("{step}: {error}"));
                }
            }
        }
        Ok(failures)
    }
}

impl Step {
    async fn run(
        &self,
        client: &Client,
        ids: &mut Ids,
        sides: &Sides,
    ) -> Result<(), tombolo_api::client::Error> {
        match self {
            Self::CreateNamespace { create } => {
                let mut create = create.clone();
                create.vpc = Some(sides.vpc.clone());
                let operation = client.create_namespace(&create).await?;
                client.wait(&operation).await?;
                if let Some(namespace) = client.find_namespace(&create.name).await? {
                    ids.add_namespace(&create.name, namespace.id);
                }
            }
            Self::CreateService { namespace, create } => {
                let mut create = create.clone();
                create.namespace_id = ids.namespace(namespace);
                let service = client.create_service(&create).await?;
                ids.add_service(namespace, &create.name, service.id);
            }
            Self::Register { at, register } => {
                let mut register = register.clone();
                register.service_id = ids.service(at);
                let operation = client.register_instance(&register).await?;
                client.wait(&operation).await?;
            }
            Self::SetHealth { at, id, health } => {
                client.set_health(&ids.service(at), id, *health).await?;
            }
            Self::Deregister { at, id } => {
                let operation = client.deregister_instance(&ids.service(at), id).await?;
                client.wait(&operation).await?;
            }
            Self::DeleteService { at } => client.delete_service(&ids.service(at)).await?,
            Self::DeleteNamespace { namespace } => {
                let operation = client.delete_namespace(&ids.namespace(namespace)).await?;
                client.wait(&operation).await?;
            }
        }
        Ok(())
    }
}
