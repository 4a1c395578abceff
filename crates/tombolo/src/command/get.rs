//! `tombolo get`: objects of the running clusters, as `kubectl get` prints them.

mod cells;

use super::{
    output::{Format, print},
    run::{Where, text},
};
use cells::{cells, listing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tombolo_kube::render::{Layout, Listing, Table};

/// Print objects: pods, services, deployments, meshes, virtualnodes, virtualservices, instances …
#[derive(clap::Args)]
#[command(after_help = "\
Kinds: pods (po), deployments (deploy), services (svc), namespaces (ns), configmaps (cm), secrets, meshes,
virtualnodes, virtualrouters, virtualservices, virtualgateways, gatewayroutes, backendgroups, instances, all.

With several clusters a last column names the cluster; --cluster chooses one.")]
pub(crate) struct Get {
    /// What: one kind, several with commas, KIND/NAME, or all.
    kind: String,
    /// Which: one name or several.
    names: Vec<String>,
    #[command(flatten)]
    place: Where,
    /// All namespaces, with a column for them.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels: app=front,version!=v1.
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// How: a table, a wider one, JSON, YAML, or names alone.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Without the line of column names.
    #[arg(long)]
    no_headers: bool,
}

/// An object and the cluster that it is in.
struct Item {
    cluster: String,
    object: Value,
}

impl Get {
    pub(crate) fn run(mut self) -> Result<i32, String> {
        if let Some((kind, name)) = self.kind.clone().split_once('/') {
            self.names.insert(0, name.to_owned());
            self.kind = kind.to_owned();
        }
        super::runtime()?.block_on(async {
            if matches!(self.kind.as_str(), "instances" | "instance") {
                return super::instances::get(&self.place.run, &self.names, self.output).await;
            }
            self.objects().await
        })
    }

    async fn objects(&self) -> Result<i32, String> {
        let items = self.items().await?;
        if matches!(self.output, Format::Json | Format::Yaml) {
            let objects: Vec<Value> = items.into_iter().map(|item| item.object).collect();
            // As kubectl: one object by its name is printed bare, everything else as a list.
            let whole = match <[Value; 1]>::try_from(objects) {
                Ok([object]) if self.names.len() == 1 => object,
                Ok([object]) => list(vec![object]),
                Err(objects) => list(objects),
            };
            print(self.output, &whole)?;
            return Ok(0);
        }
        if items.is_empty() {
            eprintln!("No resources found");
            return Ok(0);
        }
        self.print_tables(&items);
        Ok(0)
    }

    async fn items(&self) -> Result<Vec<Item>, String> {
        let names: Vec<Option<&str>> = match self.names.as_slice() {
            [] => vec![None],
            names => names.iter().map(|name| Some(name.as_str())).collect(),
        };
        let mut items = Vec::new();
        for name in names {
            let found = self
                .place
                .list(&self.kind, name, self.selector.as_deref())
                .await?;
            items.extend(found.into_iter().flat_map(|cluster| {
                let name = cluster.cluster;
                cluster.items.into_iter().map(move |object| Item {
                    cluster: name.clone(),
                    object,
                })
            }));
        }
        Ok(items)
    }

    fn print_tables(&self, items: &[Item]) {
        let mut kinds: Vec<(String, Vec<&Item>)> = Vec::new();
        for item in items {
            let kind = text(&item.object, "/kind");
            if listing(&kind).is_none() {
                continue;
            }
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, of_kind)) => of_kind.push(item),
                None => kinds.push((kind, vec![item])),
            }
        }
        let several_kinds = kinds.len() > 1;
        for (number, (kind, items)) in kinds.iter().enumerate() {
            if number > 0 && self.output != Format::Name {
                println!();
            }
            let Some(listing) = listing(kind) else {
                continue;
            };
            if self.output == Format::Name {
                for item in items {
                    println!("{}", cells::qualified_name(&item.object));
                }
            } else {
                print!("{}", self.table(listing, items, several_kinds));
            }
        }
    }

    /// Columns are kubectl's, in kubectl's order; the cluster comes last so that scripts which count
    /// columns keep working.
    fn table(&self, listing: Listing, items: &[&Item], with_kind: bool) -> Table {
        let namespaces: BTreeMap<String, ()> = items
            .iter()
            .map(|item| (text(&item.object, "/metadata/namespace"), ()))
            .collect();
        let with_namespace =
            listing.is_namespaced() && (self.all_namespaces || namespaces.len() > 1);
        let with_cluster = self.place.cluster.is_none();
        let layout = Layout {
            wide: self.output == Format::Wide,
            all_namespaces: with_namespace,
            no_headers: self.no_headers,
        };
        let mut table = Table::new(listing, layout);
        if with_cluster {
            table = table.with_column("CLUSTER");
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
            table.push(&text(&item.object, "/metadata/namespace"), row);
        }
        table
    }
}

fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
