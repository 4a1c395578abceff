//! Which running clusters a command is about, and finding things in them.

use serde_json::Value;
use tombolo_api::client::Client as ApiClient;
use tombolo_local::control::{Client, ClusterObjects, Info, Query};
use tombolo_model::Scope;

/// Options of every command that talks to a running `tombolo up`.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Which run, when several are up.
    #[arg(
        long = "name",
        value_name = "RUN",
        env = "TOMBOLO_NAME",
        default_value = "default"
    )]
    run: String,
}

/// Options of commands about objects.
#[derive(clap::Args)]
pub(crate) struct Where {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Only this cluster.
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Only this namespace. Without it, objects are looked for in all.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// An object that was found.
pub(crate) struct Found {
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Found {
    /// `cluster1`, or `namespace color of cluster1`.
    pub(crate) fn place(&self) -> String {
        match self.namespace.as_str() {
            "" => self.cluster.clone(),
            namespace => format!("namespace {namespace} of {}", self.cluster),
        }
    }
}

impl Run {
    pub(crate) fn client(&self) -> Result<Client, String> {
        Client::find(&self.run).map_err(|error| error.to_string())
    }

    /// The AWS APIs of the run.
    pub(crate) async fn api(&self) -> Result<ApiClient, String> {
        let info = self
            .client()?
            .info()
            .await
            .map_err(|error| error.to_string())?;
        api_of(&info)
    }
}

pub(crate) fn api_of(info: &Info) -> Result<ApiClient, String> {
    let scope = Scope::parse(&info.account, &info.region)?;
    ApiClient::new(&info.api, scope).map_err(|error| error.to_string())
}

impl Where {
    pub(crate) fn client(&self) -> Result<Client, String> {
        self.run.client()
    }

    pub(crate) async fn list(
        &self,
        kind: &str,
        name: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<ClusterObjects>, String> {
        let query = Query {
            cluster: self.cluster.clone(),
            kind: kind.to_owned(),
            namespace: self.namespace.clone(),
            name: name.map(str::to_owned),
            selector: selector.map(str::to_owned),
        };
        self.client()?
            .list(&query)
            .await
            .map_err(|error| error.to_string())
    }

    /// The one object of this name, whatever cluster and namespace it is in; `None` where there is none.
    pub(crate) async fn look(&self, kind: &str, name: &str) -> Result<Option<Found>, String> {
        let mut found = Vec::new();
        for cluster in self.list(kind, None, None).await? {
            let of_name = |item: &&Value| text(item, "/metadata/name") == name;
            found.extend(cluster.items.iter().filter(of_name).map(|item| Found {
                cluster: cluster.cluster.clone(),
                namespace: text(item, "/metadata/namespace"),
                name: name.to_owned(),
            }));
        }
        if found.len() > 1 {
            let places: Vec<String> = found.iter().map(Found::place).collect();
            return Err(format!(
                "{kind} \"{name}\" is there several times ({}): choose by --cluster and -n",
                places.join(", ")
            ));
        }
        Ok(found.pop())
    }

    /// The one object of this name, which must be there.
    pub(crate) async fn find(&self, kind: &str, name: &str) -> Result<Found, String> {
        self.look(kind, name)
            .await?
            .ok_or_else(|| format!("{kind} \"{name}\" not found"))
    }

    /// The pod behind `POD`, `pod/POD` or `deployment/NAME` (one of its pods; `deploy/` is short for it).
    pub(crate) async fn find_pod(&self, target: &str) -> Result<Found, String> {
        match target.split_once('/') {
            Some(("deployment" | "deployments" | "deploy" | "deployment.apps", name)) => {
                let deployment = self.find("deployment", name).await?;
                Ok(Found {
                    name: format!("deployment/{name}"),
                    ..deployment
                })
            }
            Some(("pod" | "pods" | "po", name)) => self.find("pod", name).await,
            Some((kind, _)) => Err(format!(
                "{kind} is neither pod nor deployment, so no program runs in it"
            )),
            None => self.find("pod", target).await,
        }
    }
}

/// A text in an object, or nothing.
pub(crate) fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
