//! `tombolo get`: objects of the running clusters, as `kubectl get` prints them, and resources of a control
//! plane in the same way.

mod cells;
mod watch;

use super::{
    output::{Format, put, put_data},
    resource::{self, Api, Containers, Question, Show},
    run::{Where, text},
    target::{self, Target},
};
use cells::{cells, listing};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tombolo_kube::render::{Layout, Listing, Table};

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
pub(crate) struct Get {
    /// What: one kind, several with commas, KIND/NAME, or all.
    kind: String,
    /// Which: one name or several; with KIND/NAME, more of them.
    names: Vec<String>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    api: Api,
    #[command(flatten)]
    containers: Containers,
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
}

/// An object and the cluster that it is in.
struct Item {
    cluster: String,
    object: Value,
}

/// What was found.
struct Found {
    items: Vec<Item>,
    /// How many clusters were looked into.
    clusters: usize,
}

impl Get {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let is_resource = resource::is_only_here(&self.kind)
                || self.containers.is_any()
                || self.place.cluster.is_none() && self.api.is_meant(&self.place.run);
            if is_resource {
                return self.resources().await;
            }
            if matches!(self.kind.as_str(), "instances" | "instance") {
                return self.instances().await;
            }
            let targets = target::read(&self.kind, &self.names)?;
            if self.watch {
                return watch::run(&self, &targets).await;
            }
            let found = self.find(&targets).await?;
            self.show(&found)?;
            Ok(0)
        })
    }

    async fn resources(&self) -> Result<i32, String> {
        if self.place.cluster.is_some() {
            return Err(
                "--cluster is for objects of clusters, not for resources of a control plane".into(),
            );
        }
        let question = Question {
            api: &self.api,
            run: &self.place.run,
            containers: &self.containers,
            namespace: self.place.namespace.as_deref(),
            kind: &self.kind,
            names: &self.names,
        };
        let show = Show {
            output: &self.output,
            with_headers: !self.no_headers,
            with_tags: self.show_labels,
            selector: self.selector.as_deref(),
        };
        question.get(&show, self.watch).await
    }

    async fn instances(&self) -> Result<i32, String> {
        if self.watch || self.selector.is_some() || self.place.cluster.is_some() {
            return Err(
                "instances are of all clusters and have attributes, not labels: choose among them \
                 with -n, or with `tombolo discover NAMESPACE SERVICE KEY=VALUE`"
                    .into(),
            );
        }
        let namespace = self.place.namespace.as_deref();
        let rows = super::instances::all(&self.place.run, &self.names, namespace).await?;
        super::instances::show(&rows, &self.output, self.no_headers)?;
        Ok(0)
    }

    fn show(&self, found: &Found) -> Result<(), String> {
        match &self.output {
            Format::Data(form) => put_data(*form, &self.whole(found)),
            Format::Path(template) => put(template.render(&self.whole(found))),
            Format::Name | Format::Table { .. } if found.items.is_empty() => {
                match &self.place.namespace {
                    Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
                    None => eprintln!("No resources found"),
                }
                Ok(())
            }
            Format::Name => put(found.items.iter().map(name_line).collect::<String>()),
            Format::Table { wide } => {
                let tables: Vec<String> = self
                    .tables(found, *wide)
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                put(tables.join("\n"))
            }
        }
    }

    /// As kubectl: one object by its name is printed bare, everything else as a list.
    fn whole(&self, found: &Found) -> Value {
        let is_named = self.names.len() == 1 || self.kind.contains('/');
        match found.items.as_slice() {
            [item] if is_named => item.object.clone(),
            items => {
                let objects: Vec<&Value> = items.iter().map(|item| &item.object).collect();
                json!({"apiVersion": "v1", "kind": "List", "items": objects})
            }
        }
    }

    async fn find(&self, targets: &[Target]) -> Result<Found, String> {
        let mut found = Found {
            items: Vec::new(),
            clusters: 0,
        };
        for target in targets {
            let listed = self
                .place
                .list(
                    &target.kind,
                    target.name.as_deref(),
                    self.selector.as_deref(),
                )
                .await?;
            found.clusters = listed.len();
            for cluster in listed {
                let name = cluster.cluster;
                found
                    .items
                    .extend(cluster.items.into_iter().map(|object| Item {
                        cluster: name.clone(),
                        object,
                    }));
            }
        }
        Ok(found)
    }

    /// One table for each kind, in the order in which the kinds were found.
    fn tables(&self, found: &Found, wide: bool) -> Vec<Table> {
        let mut kinds: Vec<(Listing, Vec<&Item>)> = Vec::new();
        for item in &found.items {
            let Some(listing) = listing(&text(&item.object, "/kind")) else {
                continue;
            };
            match kinds.iter_mut().find(|(known, _)| *known == listing) {
                Some((_, of_kind)) => of_kind.push(item),
                None => kinds.push((listing, vec![item])),
            }
        }
        let with_kind = kinds.len() > 1;
        let with_cluster = found.clusters > 1;
        kinds
            .iter()
            .map(|(listing, items)| self.table(*listing, items, wide, with_kind, with_cluster))
            .collect()
    }

    /// Columns are kubectl's, in kubectl's order; the cluster and labels come last so that scripts which
    /// count columns keep working.
    fn table(
        &self,
        listing: Listing,
        items: &[&Item],
        wide: bool,
        with_kind: bool,
        with_cluster: bool,
    ) -> Table {
        let namespaces: BTreeSet<String> = items
            .iter()
            .map(|item| text(&item.object, "/metadata/namespace"))
            .collect();
        let layout = Layout {
            wide,
            all_namespaces: listing.is_namespaced()
                && (self.all_namespaces || namespaces.len() > 1),
            no_headers: self.no_headers,
        };
        let mut table = Table::new(listing, layout);
        if with_cluster {
            table = table.with_column("CLUSTER");
        }
        if self.show_labels {
            table = table.with_column("LABELS");
        }
        for item in items {
            let mut row = cells(listing, &item.object, &item.cluster);
            if let Some(name) = row.first_mut()
                && with_kind
            {
                *name = cells::qualified_name(&item.object);
            }
            if with_cluster {
                row.push(item.cluster.clone());
            }
            if self.show_labels {
                row.push(cells::labels(item.object.pointer("/metadata/labels")));
            }
            table.push(&text(&item.object, "/metadata/namespace"), row);
        }
        table
    }
}

fn name_line(item: &Item) -> String {
    cells::qualified_name(&item.object) + "\n"
}
