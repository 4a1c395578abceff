//! `tombolo get`: prints objects of the running clusters, as `kubectl get` does, and resources of a control plane in
//! the same form.

mod print;
mod watch;

use crate::{
    backend::{Backend, Found, Query},
    control_plane::{ApiArgs, ControlPlane},
    error::{Error, Result},
    local::{ClusterArgs, Local},
    output::Format,
    resource::{self, filter::Filter, kind::Kind, lookup::Lookup},
    terminal,
};
pub(crate) use print::Layout;

/// Print objects of clusters: pods, services, deployments, virtualnodes …, or resources of a control plane.
#[derive(clap::Args)]
#[command(after_help = "\
Kinds of a running `tombolo up`: pods (po), deployments (deploy), replicasets (rs), services (svc),
namespaces (ns), configmaps (cm), secrets, meshes, virtualnodes (vn), virtualrouters (vr),
virtualservices (vs), virtualgateways (vg), gatewayroutes (gr), backendgroups (bg), instances, all.

With several clusters a last column names the cluster; --cluster chooses one.

Kinds of a control plane alone (with --api, or when nothing is up): meshes, virtualnodes (vn),
virtualrouters (vr), routes, virtualservices (vs), virtualgateways (vg), gatewayroutes (gr), and of
Cloud Map namespaces (ns), services (svc), instances; all. While clusters are up, routes and every
kind with its API behind it (services.servicediscovery, vn.appmesh) mean those of their control plane.

Examples:
  tombolo get pods,services -n color
  tombolo get pods -l app=front -o wide
  tombolo get virtualservice colorapp -o jsonpath='{.status.virtualServiceARN}'
  tombolo get instances colorapp
  tombolo get routes --mesh shop
  tombolo get route shop/front/all -o yaml --api http://127.0.0.1:8490
  tombolo get all --mesh shop -o yaml > shop.yaml      what `tombolo apply -f shop.yaml` takes")]
pub struct Get {
    /// What: one kind, several with commas, KIND/NAME, or all.
    kind: String,
    /// Which: one name or several; with KIND/NAME, more of them.
    names: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// All namespaces, with a column for them.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only objects with these labels, or resources with these tags: app=front,version!=v1.
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// How: table, wide, json, yaml, name or jsonpath=TEMPLATE.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
    /// Go on, and print each object again when it changes.
    #[arg(short, long)]
    watch: bool,
    /// With a column of all labels or tags.
    #[arg(long)]
    show_labels: bool,
    /// Without the line of column names.
    #[arg(long)]
    no_headers: bool,
    // The last field, because clap shows the options after it under its heading.
    #[command(flatten)]
    filter: Filter,
}

impl Get {
    /// Prints the selected objects; the exit code is 1 when one does not exist.
    ///
    /// # Errors
    /// The arguments are invalid, or there is no answer.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            let of_control_plane = resource::is_control_plane_only(&self.kind)
                || self.filter.is_any()
                || self.cluster.cluster.is_none() && self.api.is_selected(&self.cluster.run);
            if of_control_plane {
                if self.cluster.cluster.is_some() {
                    return Err(Error::usage(
                        "--cluster is for objects of clusters, not for resources of a control plane",
                    ));
                }
                let filter = self.filter.in_namespace(self.cluster.namespace.as_deref());
                let control_plane = ControlPlane::new(&self.api, &self.cluster.run, filter);
                return self.from(&control_plane).await;
            }
            if matches!(self.kind.as_str(), "instances" | "instance") {
                return self.instances().await;
            }
            self.from(&Local::new(&self.cluster)?).await
        })
    }

    fn layout(&self) -> Layout<'_> {
        Layout {
            output: &self.output,
            namespace: self.cluster.namespace.as_deref(),
            all_namespaces: self.all_namespaces,
            labels: self.show_labels,
            headers: !self.no_headers,
        }
    }

    async fn from(&self, backend: &impl Backend) -> Result<i32> {
        let query = Query {
            kind: &self.kind,
            names: &self.names,
            selector: self.selector.as_deref(),
        };
        if self.watch {
            return watch::run(backend, &query, &self.layout()).await;
        }
        let found = backend.find(&query).await?;
        self.layout().print(&found)?;
        for missing in &found.missing {
            terminal::note("error", missing);
        }
        Ok(i32::from(!found.missing.is_empty()))
    }

    /// The instances of all services, or of the named ones, optionally only those whose pods are in a Kubernetes
    /// namespace.
    async fn instances(&self) -> Result<i32> {
        if self.watch || self.selector.is_some() || self.cluster.cluster.is_some() {
            return Err(Error::usage(
                "instances are of all clusters and have attributes, not labels: choose among them \
                 with -n, or with `tombolo discover NAMESPACE SERVICE KEY=VALUE`",
            ));
        }
        let server = self.api.server(&self.cluster.run).await?;
        let lookup = Lookup::new(server.client()?);
        let mut objects = Vec::new();
        let services: Vec<Option<&String>> = match self.names.as_slice() {
            [] => vec![None],
            names => names.iter().map(Some).collect(),
        };
        for service in services {
            let filter = Filter {
                service: service.cloned(),
                ..Filter::default()
            };
            if let Some(name) = service
                && lookup.list(Kind::Service, &filter, None).await?.is_empty()
            {
                return Err(Error::Lookup(format!("no service is called {name}")));
            }
            let found = lookup.list(Kind::Instance, &filter, None).await?;
            objects.extend(found.iter().map(resource::object));
        }
        if let Some(namespace) = &self.cluster.namespace {
            let pointer = "/spec/Attributes/k8s.io~1namespace";
            objects.retain(|object| object.text_or(pointer, "") == *namespace);
        }
        let found = Found {
            objects,
            ..Found::default()
        };
        self.layout().print(&found)?;
        Ok(0)
    }
}
