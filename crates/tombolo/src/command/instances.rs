//! Instances of the registry: `tombolo get instances` and `tombolo discover`.

use super::{
    output::{Format, print},
    run::Run,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tombolo_api::client::{Client, Discover as Question};
use tombolo_kube::render::Table;
use tombolo_model::registry::Health;

/// Find instances of a service in the registry, as `aws servicediscovery discover-instances` does.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  tombolo discover color.pvt.local colorapp version=blue")]
pub(crate) struct Discover {
    /// The Cloud Map namespace.
    namespace: String,
    /// The service in it.
    service: String,
    /// Only instances with these attributes.
    #[arg(value_name = "KEY=VALUE")]
    attributes: Vec<String>,
    #[command(flatten)]
    run: Run,
    /// How: a table, a wider one with all attributes, JSON, YAML, or ids alone.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// One instance, as it is printed.
struct Row {
    namespace: String,
    service: String,
    id: String,
    health: &'static str,
    attributes: BTreeMap<String, String>,
}

impl Discover {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let mut question = Question::new(&self.namespace, &self.service);
            for pair in &self.attributes {
                let (key, value) = pair
                    .split_once('=')
                    .ok_or_else(|| format!("{pair:?} is not KEY=VALUE, like version=blue"))?;
                question.query.insert(key.to_owned(), value.to_owned());
            }
            let found = self
                .run
                .api()
                .await?
                .discover(&question)
                .await
                .map_err(|e| e.to_string())?;
            let mut rows: Vec<Row> = found
                .into_iter()
                .map(|instance| Row {
                    namespace: self.namespace.clone(),
                    service: self.service.clone(),
                    id: instance.id,
                    health: health_word(instance.health),
                    attributes: instance.attributes,
                })
                .collect();
            // The API answers in random order; people compare.
            rows.sort_by(|a, b| a.id.cmp(&b.id));
            show(&rows, self.output)
        })
    }
}

/// `tombolo get instances [SERVICE…]`: the instances of all services, or of those of these names.
pub(super) async fn get(run: &Run, services: &[String], output: Format) -> Result<i32, String> {
    let api = run.api().await?;
    let mut rows = Vec::new();
    for namespace in api
        .list_namespaces()
        .await
        .map_err(|error| error.to_string())?
    {
        let listed = api
            .list_services(&namespace.id)
            .await
            .map_err(|error| error.to_string())?;
        for service in listed {
            if services.is_empty() || services.contains(&service.name) {
                rows.extend(of_service(&api, &namespace.name, &service).await?);
            }
        }
    }
    show(&rows, output)
}

async fn of_service(
    api: &Client,
    namespace: &str,
    service: &tombolo_api::client::Service,
) -> Result<Vec<Row>, String> {
    let instances = api
        .list_instances(&service.id)
        .await
        .map_err(|error| error.to_string())?;
    let rows = instances.into_iter().map(|instance| Row {
        namespace: namespace.to_owned(),
        service: service.name.clone(),
        id: instance.id,
        health: "",
        attributes: instance.attributes,
    });
    Ok(rows.collect())
}

fn health_word(health: Option<Health>) -> &'static str {
    match health {
        Some(Health::Healthy) => "HEALTHY",
        Some(Health::Unhealthy) => "UNHEALTHY",
        None => "UNKNOWN",
    }
}

fn show(rows: &[Row], output: Format) -> Result<i32, String> {
    match output {
        Format::Json | Format::Yaml => {
            let items: Vec<Value> = rows.iter().map(to_json).collect();
            print(output, &json!({"Instances": items}))?;
        }
        Format::Name => rows.iter().for_each(|row| println!("{}", row.id)),
        Format::Table | Format::Wide if rows.is_empty() => eprintln!("No instances found"),
        Format::Table | Format::Wide => {
            let wide = output == Format::Wide;
            let mut header = vec!["NAMESPACE", "SERVICE", "INSTANCE", "IP", "PORT", "POD"];
            header.extend(["VIRTUAL-NODE", "HEALTH"]);
            if wide {
                header.push("ATTRIBUTES");
            }
            let mut table = Table::of(header);
            for row in rows {
                table.push("", cells(row, wide));
            }
            print!("{table}");
        }
    }
    Ok(0)
}

fn cells(row: &Row, wide: bool) -> Vec<String> {
    let get = |key: &str| row.attributes.get(key).cloned().unwrap_or_default();
    let address = match get("AWS_INSTANCE_IPV4") {
        v4 if v4.is_empty() => get("AWS_INSTANCE_IPV6"),
        v4 => v4,
    };
    let mut cells = vec![
        row.namespace.clone(),
        row.service.clone(),
        row.id.clone(),
        address,
        get("AWS_INSTANCE_PORT"),
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
    let mut json = json!({
        "InstanceId": row.id,
        "NamespaceName": row.namespace,
        "ServiceName": row.service,
        "Attributes": row.attributes,
    });
    if !row.health.is_empty() {
        json["HealthStatus"] = row.health.into();
    }
    json
}
