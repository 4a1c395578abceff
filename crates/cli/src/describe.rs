//! `tombolo describe`: a resource of a control plane with its related resources.

mod related;
mod text;

use crate::{
    backend::Query,
    control_plane::{ApiArgs, ControlPlane},
    error::Result,
    local::RunArgs,
    output::{ReportFormat, print_value},
    progress::during,
    resource::{filter::Filter, id::Id, view::ResourceView},
    terminal,
};
use related::Table;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Show resources of a control plane with everything that is related to them.
///
/// That is what they refer to and what refers to them, the routes of a router, the nodes of a route with their
/// weights, the instances of a node and of a service with their health, the services of a namespace.
#[derive(clap::Args)]
#[command(after_help = "\
Kinds: meshes, virtualnodes (vn), virtualrouters (vr), routes, virtualservices (vs),
virtualgateways (vg), gatewayroutes (gr), and of Cloud Map namespaces (ns), services (svc),
instances.

An ambiguous name is qualified by its containers: front/all, shop/front/all.

Examples:
  tombolo describe virtualnode front
  tombolo describe route shop/front/all
  tombolo describe vr --mesh shop
  tombolo describe service shop.local/front -o json
  tombolo describe arn:aws:appmesh:us-west-2:111122223333:mesh/shop/virtualNode/front")]
pub struct Describe {
    /// What: a kind, KIND/NAME, or an ARN.
    kind: String,
    /// Which: one name or several; all where absent.
    names: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// Only resources of this Cloud Map namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How: sections, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
    // The last field, because clap shows the options after it under its heading.
    #[command(flatten)]
    filter: Filter,
}

/// A reference to or from another resource.
#[derive(Serialize)]
struct Link {
    role: &'static str,
    /// The other end: `virtualnode/shop/front`.
    resource: String,
    /// The weight of a route's target …
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// … and the sum of all weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<u32>,
    /// State of the other end; absent when it is not looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

impl Link {
    fn new(role: &'static str, other: &Id, weight: Option<(u32, u32)>) -> Self {
        Self {
            role,
            resource: other.to_string(),
            weight: weight.map(|(weight, _)| weight),
            weights: weight.map(|(_, weights)| weights),
            state: None,
        }
    }
}

/// The printed description of a resource.
struct Description {
    found: ResourceView,
    refers_to: Vec<Link>,
    /// Absent for kinds that nothing can refer to.
    referred_to_by: Option<Vec<Link>>,
    /// Tables of its children, and of its instances.
    tables: Vec<Table>,
}

impl Describe {
    /// Prints the selected resources; the exit code is 1 when one does not exist.
    ///
    /// # Errors
    /// The arguments are invalid, or there is no answer.
    pub fn run(self) -> Result<i32> {
        let filter = self.filter.in_namespace(self.namespace.as_deref());
        let control_plane = ControlPlane::new(&self.api, &self.run, filter);
        let query = Query {
            kind: &self.kind,
            names: &self.names,
            selector: None,
        };
        crate::block_on(describe(&control_plane, &query, self.output))
    }
}

async fn describe(
    control_plane: &ControlPlane<'_>,
    query: &Query<'_>,
    report: ReportFormat,
) -> Result<i32> {
    let targets = control_plane.targets(query)?;
    let lookup = control_plane.lookup().await?;
    let (found, missing) = control_plane.select(&lookup, &targets).await?;
    let mut descriptions = Vec::new();
    for found in found {
        let description = related::describe(&lookup, found);
        descriptions.push(during("reading what is related", description).await?);
    }
    match report.data() {
        Some(form) => {
            let all: Vec<Value> = descriptions.iter().map(to_json).collect();
            match <[Value; 1]>::try_from(all) {
                Ok([one]) => print_value(form, &one)?,
                Err(all) => print_value(form, &json!(all))?,
            }
        }
        None if descriptions.is_empty() && missing.is_empty() => {
            terminal::progress("No resources found");
        }
        None => {
            let texts: Vec<String> = descriptions.iter().map(text::of).collect();
            terminal::print(texts.join("\n"))?;
        }
    }
    for what in &missing {
        terminal::note("error", what);
    }
    Ok(i32::from(!missing.is_empty()))
}

fn to_json(description: &Description) -> Value {
    let mut json = description.found.document();
    json["refersTo"] = json!(description.refers_to);
    json["referredToBy"] = json!(description.referred_to_by.as_deref().unwrap_or_default());
    for table in &description.tables {
        let row = |row: &Vec<String>| -> Value {
            let pairs = table.header.iter().zip(row);
            let pairs = pairs.map(|(name, cell)| (member(name), json!(cell)));
            Value::Object(pairs.collect::<Map<String, Value>>())
        };
        json[table.member] = table.rows.iter().map(row).collect();
    }
    json
}

/// `HEALTH-CHECK` as `healthCheck`.
fn member(column: &str) -> String {
    let mut words = column.split('-');
    let first = words.next().unwrap_or_default().to_lowercase();
    let rest = words.map(|word| {
        let (head, tail) = word.split_at(word.len().min(1));
        head.to_owned() + &tail.to_lowercase()
    });
    first + &rest.collect::<String>()
}
