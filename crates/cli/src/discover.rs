//! Instances of the registry: `tombolo get instances` and `tombolo discover`.

use crate::{
    error::{Error, Result},
    local::RunArgs,
    output::{Format, print_value},
    table::Table,
    terminal,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use tombolo_api::client::{Client, Discover as Question};
use tombolo_model::cloudmap::{
    Health,
    attributes::{INSTANCE_IPV4, INSTANCE_IPV6, INSTANCE_PORT},
};

/// Find instances of a service in the registry, as `aws servicediscovery discover-instances` does.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  tombolo discover color.pvt.local colorapp version=blue")]
pub struct Discover {
    /// The Cloud Map namespace.
    namespace: String,
    /// The service in it.
    service: String,
    /// Only instances with these attributes.
    #[arg(value_name = "KEY=VALUE")]
    attributes: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    /// How: table, wide (with all attributes), json, yaml, name (ids alone) or jsonpath=TEMPLATE.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

/// One instance, as it is printed.
pub(super) struct Row {
    namespace: String,
    service: String,
    id: String,
    health: &'static str,
    attributes: BTreeMap<String, String>,
}

impl Discover {
    /// Prints the instances.
    ///
    /// # Errors
    /// There is no such service, or no run answers.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            let mut question = Question::new(&self.namespace, &self.service);
            for pair in &self.attributes {
                let (key, value) = pair.split_once('=').ok_or_else(|| {
                    Error::usage(format!("{pair:?} is not KEY=VALUE, like version=blue"))
                })?;
                question.query.insert(key.to_owned(), value.to_owned());
            }
            let found = self.run.api().await?.discover(&question).await?;
            let mut rows: Vec<Row> = found
                .into_iter()
                .map(|instance| Row {
                    namespace: self.namespace.clone(),
                    service: self.service.clone(),
                    id: instance.id,
                    health: health_name(instance.health),
                    attributes: instance.attributes,
                })
                .collect();
            // The API answers in random order; people compare.
            rows.sort_by(|a, b| a.id.cmp(&b.id));
            show(&rows, &self.output, false)?;
            Ok(0)
        })
    }
}

/// `tombolo get instances [SERVICE…]`: the instances of all services, or of those of these names, whose pods
/// are in a Kubernetes namespace where one is given.
pub(super) async fn all(
    run: &RunArgs,
    services: &[String],
    namespace: Option<&str>,
) -> Result<Vec<Row>> {
    let api = run.api().await?;
    let mut rows = Vec::new();
    let mut missing: Vec<&String> = services.iter().collect();
    for registry in api.list_namespaces().await? {
        for service in api.list_services(&registry.id).await? {
            if services.is_empty() || services.contains(&service.name) {
                missing.retain(|name| **name != service.name);
                rows.extend(of_service(&api, &registry.name, &service).await?);
            }
        }
    }
    if let Some(name) = missing.first() {
        return Err(Error::Lookup(format!("no service is called {name}")));
    }
    rows.retain(|row| {
        namespace.is_none_or(|desired| {
            row.attributes
                .get("k8s.io/namespace")
                .is_some_and(|of_pod| of_pod == desired)
        })
    });
    Ok(rows)
}

async fn of_service(
    api: &Client,
    namespace: &str,
    service: &tombolo_api::client::Service,
) -> Result<Vec<Row>> {
    let instances = api.list_instances(&service.id).await?;
    // ListInstances is complete but without health; DiscoverInstances has the health of up to a thousand.
    let question = Question {
        health: Some(tombolo_api::client::HealthFilter::All),
        max_results: Some(1000),
        ..Question::new(namespace, &service.name)
    };
    let found = api.discover(&question).await?;
    let health: HashMap<String, Option<Health>> = found
        .into_iter()
        .map(|instance| (instance.id, instance.health))
        .collect();
    let rows = instances.into_iter().map(|instance| Row {
        namespace: namespace.to_owned(),
        service: service.name.clone(),
        health: health_name(health.get(&instance.id).copied().flatten()),
        id: instance.id,
        attributes: instance.attributes,
    });
    Ok(rows.collect())
}

fn health_name(health: Option<Health>) -> &'static str {
    match health {
        Some(Health::Healthy) => "HEALTHY",
        Some(Health::Unhealthy) => "UNHEALTHY",
        None => "UNKNOWN",
    }
}

/// Prints instances.
pub(super) fn show(rows: &[Row], output: &Format, no_headers: bool) -> Result<()> {
    let whole = || json!({"Instances": rows.iter().map(to_json).collect::<Vec<Value>>()});
    match output {
        Format::Data(form) => print_value(*form, &whole()),
        Format::Path(template) => terminal::print_data(&template.render(&whole())),
        Format::Name | Format::Table { .. } if rows.is_empty() => {
            terminal::progress("No instances found");
            Ok(())
        }
        Format::Name => {
            let ids = rows.iter().map(|row| format!("{}\n", row.id));
            terminal::print(ids.collect::<String>())
        }
        Format::Table { wide } => {
            let mut header = vec!["NAMESPACE", "SERVICE", "INSTANCE", "IP", "PORT", "POD"];
            header.extend(["VIRTUAL-NODE", "HEALTH"]);
            if *wide {
                header.push("ATTRIBUTES");
            }
            let mut table = Table::new(header);
            if no_headers {
                table = table.without_header();
            }
            for row in rows {
                table.push(cells(row, *wide));
            }
            terminal::print(table)
        }
    }
}

fn cells(row: &Row, wide: bool) -> Vec<String> {
    let get = |key: &str| row.attributes.get(key).cloned().unwrap_or_default();
    let address = match get(INSTANCE_IPV4) {
        v4 if v4.is_empty() => get(INSTANCE_IPV6),
        v4 => v4,
    };
    let mut cells = vec![
        row.namespace.clone(),
        row.service.clone(),
        row.id.clone(),
        address,
        get(INSTANCE_PORT),
        get("k8s.io/pod"),
        get("appmesh.k8s.aws/virtualNode"),
        row.health.to_owned(),
    ];
    if wide {
        let pairs: Vec<String> = row
            .attributes
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        cells.push(pairs.join(","));
    }
    cells
}

fn to_json(row: &Row) -> Value {
    json!({
        "InstanceId": row.id,
        "NamespaceName": row.namespace,
        "ServiceName": row.service,
        "HealthStatus": row.health,
        "Attributes": row.attributes,
    })
}
