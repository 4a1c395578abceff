//! The clusters of a running `tombolo up`.

mod delete;

use crate::{
    apply,
    backend::{Backend, Found, Object, Query},
    columns, delete as deletion,
    error::{Error, Result},
    json::text,
    target, terminal,
};
use serde_json::Value;
use std::time::Duration;
use tombolo_local::control_socket::{self, ApplyReply, Client, ClusterObjects, Outcome};

/// Options of every command that talks to a running `tombolo up`.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Which run, when several are up.
    #[arg(
        long = "name",
        value_name = "RUN",
        env = "TOMBOLO_NAME",
        default_value = "default"
    )]
    run: String,
}

impl RunArgs {
    /// The client of the run.
    ///
    /// # Errors
    /// No run of this name is up.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::find(&self.run)?)
    }
}

/// Options of commands about objects of clusters.
#[derive(clap::Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Only this cluster.
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Only this namespace. Without it, objects are looked for in all.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// An object of a cluster, by name.
pub(crate) struct ObjectRef {
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectRef {
    pub(crate) fn location(&self) -> String {
        location(&self.namespace, &self.cluster)
    }
}

/// The location for messages: `cluster1`, or `namespace color of cluster1`.
pub(crate) fn location(namespace: &str, cluster: &str) -> String {
    match namespace {
        "" => cluster.to_owned(),
        namespace => format!("namespace {namespace} of {cluster}"),
    }
}

impl ClusterArgs {
    pub(crate) async fn list(
        &self,
        kind: &str,
        name: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<ClusterObjects>> {
        let query = control_socket::Query {
            cluster: self.cluster.clone(),
            kind: kind.to_owned(),
            namespace: self.namespace.clone(),
            name: name.map(str::to_owned),
            selector: selector.map(str::to_owned),
        };
        Ok(self.run.client()?.list(&query).await?)
    }

    /// The object of this name in any cluster and namespace; `None` when there is none.
    ///
    /// # Errors
    /// There are several.
    pub(crate) async fn find_optional(&self, kind: &str, name: &str) -> Result<Option<ObjectRef>> {
        let mut found = Vec::new();
        for cluster in self.list(kind, None, None).await? {
            let of_name = |item: &&Value| text(item, "/metadata/name") == name;
            found.extend(cluster.items.iter().filter(of_name).map(|item| ObjectRef {
                cluster: cluster.cluster.clone(),
                namespace: text(item, "/metadata/namespace"),
                name: name.to_owned(),
            }));
        }
        if found.len() > 1 {
            let locations: Vec<String> = found.iter().map(ObjectRef::location).collect();
            return Err(Error::Lookup(format!(
                "{kind} \"{name}\" is there several times ({}): choose by --cluster and -n",
                locations.join(", ")
            )));
        }
        Ok(found.pop())
    }

    /// The object of this name.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub(crate) async fn find(&self, kind: &str, name: &str) -> Result<ObjectRef> {
        let found = self.find_optional(kind, name).await?;
        found.ok_or_else(|| {
            Error::Lookup(format!(
                "{kind} \"{name}\" not found; `tombolo get {kind} -A` lists what is there"
            ))
        })
    }

    /// The pod of `POD`, `pod/POD` or `deployment/NAME` (one of its pods; `deploy/` is an abbreviation).
    pub(crate) async fn find_pod(&self, target: &str) -> Result<ObjectRef> {
        match target.split_once('/') {
            Some(("deployment" | "deployments" | "deploy" | "deployment.apps", name)) => {
                let deployment = self.find("deployment", name).await?;
                Ok(ObjectRef {
                    name: format!("deployment/{name}"),
                    ..deployment
                })
            }
            Some(("pod" | "pods" | "po", name)) => self.find("pod", name).await,
            Some((kind, _)) => Err(Error::usage(format!(
                "{kind} is neither pod nor deployment, so no program runs in it"
            ))),
            None => self.find("pod", target).await,
        }
    }
}

/// The objects of clusters.
pub(crate) struct Local<'a> {
    args: &'a ClusterArgs,
    client: Client,
}

impl<'a> Local<'a> {
    /// # Errors
    /// No run of this name is up.
    pub(crate) fn new(args: &'a ClusterArgs) -> Result<Self> {
        let client = args.run.client()?;
        Ok(Self { args, client })
    }
}

impl Backend for Local<'_> {
    const POLL: Duration = Duration::from_millis(500);

    async fn find(&self, query: &Query<'_>) -> Result<Found> {
        let mut found = Found {
            is_single: query.names.len() == 1 || query.kind.contains('/'),
            ..Found::default()
        };
        for target in target::read_kubernetes(query.kind, query.names)? {
            let name = target.name.as_deref();
            let listed = self.args.list(&target.kind, name, query.selector);
            let listed = listed.await?;
            found.has_clusters = listed.len() > 1;
            for ClusterObjects { cluster, items } in listed {
                let objects = items.into_iter().filter_map(|item| object(&cluster, item));
                found.objects.extend(objects);
            }
        }
        Ok(found)
    }

    async fn apply(&self, files: apply::Files, options: &apply::Options) -> Result<()> {
        let request = control_socket::Apply {
            cluster: self.args.cluster.clone(),
            sources: files.sources,
            validate: options.validate,
            namespace: self.args.namespace.clone(),
            dry_run: options.dry_run,
        };
        let reply = self.client.apply(&request).await?;
        for warning in &reply.warnings {
            terminal::warning(warning);
        }
        if reply.applied.is_empty() {
            return Err(Error::Rejected("there is no object in these files".into()));
        }
        show_applied(&reply, options)
    }

    async fn delete(
        &self,
        objects: deletion::Objects<'_>,
        options: &deletion::Options,
    ) -> Result<()> {
        self.delete_objects(objects, options).await
    }
}

fn show_applied(reply: &ApplyReply, options: &apply::Options) -> Result<()> {
    if let Some(form) = options.report.data() {
        return crate::output::print_value(form, &serde_json::to_value(reply)?);
    }
    let dry_run = if options.dry_run { " (dry run)" } else { "" };
    let lines = reply.applied.iter().map(|applied| {
        let outcome = match applied.outcome {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
            Outcome::Ignored => "ignored: objects of this kind are not run here",
        };
        format!("{} {outcome}{dry_run}\n", applied.object)
    });
    terminal::print(lines.collect::<String>())
}

/// An object as commands print it; `None` for unknown kinds.
fn object(cluster: &str, document: Value) -> Option<Object> {
    let kind = text(&document, "/kind");
    let name = qualified_name(&document);
    let namespace = text(&document, "/metadata/namespace");
    Some(Object {
        columns: columns::kubernetes::of(&kind)?,
        kind,
        qualified_name: name.clone(),
        short_name: name,
        namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
        cluster: cluster.to_owned(),
        document,
    })
}

/// `deployment.apps/front`, kubectl's qualified name.
fn qualified_name(object: &Value) -> String {
    let kind = text(object, "/kind").to_ascii_lowercase();
    let version = text(object, "/apiVersion");
    let name = text(object, "/metadata/name");
    match version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}
