//! Columns and cells of resources in `tombolo get`.

use crate::table::age;
use crate::{
    resource::kind::Kind,
    resource::references,
    resource::view::{Details, ResourceView},
};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tombolo_model::{
    Timestamp,
    appmesh::{self, Spec, spec::PortMapping, spec::virtual_node::ServiceDiscovery},
    cloudmap::attributes::{INSTANCE_IPV4, INSTANCE_IPV6, INSTANCE_PORT},
};

/// The columns of a kind, and whether each is shown only when the table is wide. The name is the first and
/// the age the last that is always shown, as kubectl has it.
pub(crate) fn columns(kind: Kind) -> &'static [(&'static str, bool)] {
    const AGE: (&str, bool) = ("AGE", false);
    const VERSION: (&str, bool) = ("VERSION", false);
    const ARN: (&str, bool) = ("ARN", true);
    const MESH: (&str, bool) = ("MESH", false);
    const NAME: (&str, bool) = ("NAME", false);
    const LISTENERS: (&str, bool) = ("LISTENERS", false);
    const MATCH: (&str, bool) = ("MATCH", false);
    match kind {
        Kind::Namespace => &[
            NAME,
            ("TYPE", false),
            ("SERVICES", false),
            ("ID", false),
            AGE,
            ARN,
        ],
        Kind::Service => &[
            NAME,
            ("NAMESPACE", false),
            ("DNS", false),
            ("HEALTH-CHECK", false),
            ("INSTANCES", false),
            ("ID", false),
            AGE,
            ARN,
        ],
        Kind::Instance => &[
            NAME,
            ("NAMESPACE", false),
            ("SERVICE", false),
            ("IP", false),
            ("PORT", false),
            ("HEALTH", false),
            ("ATTRIBUTES", true),
        ],
        Kind::Mesh(kind) => match kind {
            appmesh::Kind::Mesh => &[NAME, ("EGRESS", false), VERSION, AGE, ARN],
            appmesh::Kind::VirtualNode => &[
                NAME,
                MESH,
                LISTENERS,
                ("DISCOVERY", false),
                VERSION,
                AGE,
                ("BACKENDS", true),
                ARN,
            ],
            appmesh::Kind::VirtualRouter | appmesh::Kind::VirtualGateway => {
                &[NAME, MESH, LISTENERS, VERSION, AGE, ARN]
            }
            appmesh::Kind::VirtualService => &[NAME, MESH, ("PROVIDER", false), VERSION, AGE, ARN],
            appmesh::Kind::Route => &[
                NAME,
                MESH,
                ("ROUTER", false),
                MATCH,
                ("TARGETS", false),
                VERSION,
                AGE,
                ARN,
            ],
            appmesh::Kind::GatewayRoute => &[
                NAME,
                MESH,
                ("GATEWAY", false),
                MATCH,
                ("TARGET", false),
                VERSION,
                AGE,
                ARN,
            ],
        },
    }
}

/// All cells of a resource, those of wide tables included.
pub(crate) fn cells(found: &ResourceView) -> Vec<String> {
    let name = found.id.name().to_owned();
    let age = found.created_at().map(since).unwrap_or_default();
    let arn = found.arn().unwrap_or_default().to_owned();
    let places = found.id.metadata();
    let place = |member: &str| places.get(member).map(text).unwrap_or_default();
    match &found.details {
        Details::Namespace(namespace) => vec![
            name,
            namespace.kind.as_str().into(),
            namespace.service_count.to_string(),
            namespace.id.clone(),
            age,
            arn,
        ],
        Details::Service { service, .. } => {
            let records = service.dns_config.iter().flat_map(|dns| &dns.dns_records);
            let records: Vec<String> = records.map(|record| format!("{:?}", record.kind)).collect();
            let check = match (&service.health_check, service.custom_health_check) {
                (Some(check), _) => format!("{:?}", check.kind),
                (None, true) => "custom".into(),
                (None, false) => String::new(),
            };
            vec![
                name,
                place("namespace"),
                records.join(","),
                check,
                service.instance_count.to_string(),
                service.id.clone(),
                age,
                arn,
            ]
        }
        Details::Instance {
            instance, health, ..
        } => {
            let get = |key: &str| instance.attributes.get(key).cloned();
            let ip = get(INSTANCE_IPV4).or_else(|| get(INSTANCE_IPV6));
            let pairs = instance.attributes.iter();
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
            vec![
                name,
                place("namespace"),
                place("service"),
                ip.unwrap_or_default(),
                get(INSTANCE_PORT).unwrap_or_default(),
                health.clone(),
                pairs.join(","),
            ]
        }
        Details::Mesh(resource) => {
            let mut cells = vec![name];
            cells.extend(places.iter().skip(1).map(|(_, place)| text(place)));
            cells.extend(of_spec(&resource.spec));
            let targets = references::of(&resource.key, &resource.spec);
            let names = |role: &str| -> String {
                let of_role = targets.iter().filter(|target| target.role == role);
                let names: Vec<String> = of_role
                    .map(|target| match target.weight {
                        Some((weight, _)) => format!("{}={weight}", target.target.name()),
                        None => target.target.name().to_owned(),
                    })
                    .collect();
                names.join(",")
            };
            match resource.key.kind {
                appmesh::Kind::Route | appmesh::Kind::GatewayRoute => cells.push(names("target")),
                appmesh::Kind::VirtualService => {
                    let of_kind = targets.first().map(|it| it.target.kind().as_str());
                    cells.push(match of_kind {
                        Some(word) => format!("{word}/{}", names("provider")),
                        None => String::new(),
                    });
                }
                _ => {}
            }
            cells.extend([resource.metadata.version.to_string(), age]);
            if resource.key.kind == appmesh::Kind::VirtualNode {
                cells.push(names("backend"));
            }
            cells.push(arn);
            cells
        }
    }
}

/// The cells that a kind's own fields fill, before its references.
fn of_spec(spec: &Spec) -> Vec<String> {
    match spec {
        Spec::Mesh(_) => {
            let json = spec.to_json();
            let egress = json.pointer("/egressFilter/type").map(text);
            // facts: without a filter nothing leaves the mesh.
            vec![egress.unwrap_or_else(|| "DROP_ALL".into())]
        }
        Spec::VirtualNode(spec) => {
            let ports = ports(spec.listeners().iter().map(|it| it.port_mapping));
            let discovery = match &spec.service_discovery {
                None => String::new(),
                Some(ServiceDiscovery::Dns(dns)) => format!("dns:{}", dns.hostname),
                Some(ServiceDiscovery::AwsCloudMap(map)) => {
                    format!("cloudmap:{}/{}", map.namespace_name, map.service_name)
                }
            };
            vec![ports, discovery]
        }
        Spec::VirtualRouter(spec) => vec![ports(spec.listeners())],
        Spec::VirtualGateway(spec) => {
            vec![ports(spec.listeners.iter().map(|it| it.port_mapping))]
        }
        Spec::Route(_) | Spec::GatewayRoute(_) => vec![matches(&spec.to_json())],
        Spec::VirtualService(_) => Vec::new(),
    }
}

/// `8080/http,9090/tcp`.
fn ports(listeners: impl Iterator<Item = PortMapping>) -> String {
    let word = |it: PortMapping| format!("{}/{}", it.port, it.protocol.word());
    listeners.map(word).collect::<Vec<_>>().join(",")
}

/// `http prefix=/api method=GET`: what a route matches.
fn matches(spec: &Value) -> String {
    let routes = spec.as_object().into_iter().flatten();
    let Some((kind, route)) = routes
        .into_iter()
        .find(|(member, _)| member.ends_with("Route"))
    else {
        return String::new();
    };
    let mut words = vec![kind.trim_end_matches("Route").to_owned()];
    for (member, value) in route["match"].as_object().into_iter().flatten() {
        words.push(match value {
            Value::Array(items) => {
                let names: Vec<String> = items.iter().map(|item| text(&item["name"])).collect();
                format!("{member}={}", names.join("+"))
            }
            Value::Object(inner) => {
                let inner: Vec<String> = inner.values().map(text).collect();
                format!("{member}={}", inner.join("+"))
            }
            value => format!("{member}={}", text(value)),
        });
    }
    words.join(" ")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Time since `time`, as kubectl writes ages.
pub(crate) fn since(time: Timestamp) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    age(now.saturating_sub(Duration::from_millis(time.0)))
}
