//! Columns of the resources of the App Mesh and Cloud Map APIs.

use super::Column;
use crate::{backend::Object, json, resource::kind::Kind};
use serde_json::Value;
use tombolo_model::appmesh;

const NAME: Column = Column::at("NAME", "/metadata/name");
const MESH: Column = Column::at("MESH", "/metadata/mesh");
const LISTENERS: Column = Column::computed("LISTENERS", listeners);
const MATCH: Column = Column::computed("MATCH", matches);
const VERSION: Column = Column::at("VERSION", "/status/version");
const AGE: Column = Column::age("/status/createdAt");
const ARN: Column = Column::at("ARN", "/status/arn").wide();

const REGISTRY_ID: Column = Column::at("ID", "/status/Id");
const REGISTRY_AGE: Column = Column::age("/status/CreateDate");
const REGISTRY_ARN: Column = Column::at("ARN", "/status/Arn").wide();
const NAMESPACE: Column = Column::at("NAMESPACE", "/metadata/namespace");

const NAMESPACES: &[Column] = &[
    NAME,
    Column::at("TYPE", "/spec/Type"),
    Column::at("SERVICES", "/status/ServiceCount"),
    REGISTRY_ID,
    REGISTRY_AGE,
    REGISTRY_ARN,
];

const SERVICES: &[Column] = &[
    NAME,
    NAMESPACE,
    Column::computed("DNS", |it| {
        json::each(&it.document, "/spec/DnsConfig/DnsRecords", "/Type")
    }),
    Column::computed("HEALTH-CHECK", health_check),
    Column::at("INSTANCES", "/status/InstanceCount"),
    REGISTRY_ID,
    REGISTRY_AGE,
    REGISTRY_ARN,
];

const INSTANCES: &[Column] = &[
    NAME,
    NAMESPACE,
    Column::at("SERVICE", "/metadata/service"),
    Column::computed("IP", |it| {
        let v6 = it.text_or("/spec/Attributes/AWS_INSTANCE_IPV6", "");
        it.text_or("/spec/Attributes/AWS_INSTANCE_IPV4", &v6)
    }),
    Column::at("PORT", "/spec/Attributes/AWS_INSTANCE_PORT"),
    Column::at("HEALTH", "/status/HealthStatus"),
    Column::at("POD", "/spec/Attributes/k8s.io~1pod"),
    Column::at(
        "VIRTUAL-NODE",
        "/spec/Attributes/appmesh.k8s.aws~1virtualNode",
    )
    .wide(),
    Column::computed("ATTRIBUTES", |it| {
        json::pairs(&it.document, "/spec/Attributes")
    })
    .wide(),
];

const MESHES: &[Column] = &[
    NAME,
    // facts: without a filter nothing leaves the mesh.
    Column::computed("EGRESS", |it| {
        it.text_or("/spec/egressFilter/type", "DROP_ALL")
    }),
    VERSION,
    AGE,
    ARN,
];

const VIRTUAL_NODES: &[Column] = &[
    NAME,
    MESH,
    LISTENERS,
    Column::computed("DISCOVERY", discovery),
    VERSION,
    AGE,
    Column::computed("BACKENDS", |it| {
        let name = "/virtualService/virtualServiceName";
        json::each(&it.document, "/spec/backends", name)
    })
    .wide(),
    ARN,
];

const ROUTERS_AND_GATEWAYS: &[Column] = &[NAME, MESH, LISTENERS, VERSION, AGE, ARN];

const VIRTUAL_SERVICES: &[Column] = &[
    NAME,
    MESH,
    Column::computed("PROVIDER", provider),
    VERSION,
    AGE,
    ARN,
];

const ROUTES: &[Column] = &[
    NAME,
    MESH,
    Column::at("ROUTER", "/metadata/virtualRouter"),
    MATCH,
    Column::computed("TARGETS", targets),
    VERSION,
    AGE,
    ARN,
];

const GATEWAY_ROUTES: &[Column] = &[
    NAME,
    MESH,
    Column::at("GATEWAY", "/metadata/virtualGateway"),
    MATCH,
    Column::computed("TARGET", |it| {
        let name = "/action/target/virtualService/virtualServiceName";
        route(it).map_or_else(String::new, |(_, route)| json::text(route, name))
    }),
    VERSION,
    AGE,
    ARN,
];

/// The columns of a kind.
pub(crate) fn of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Namespace => NAMESPACES,
        Kind::Service => SERVICES,
        Kind::Instance => INSTANCES,
        Kind::Mesh(kind) => match kind {
            appmesh::Kind::Mesh => MESHES,
            appmesh::Kind::VirtualNode => VIRTUAL_NODES,
            appmesh::Kind::VirtualRouter | appmesh::Kind::VirtualGateway => ROUTERS_AND_GATEWAYS,
            appmesh::Kind::VirtualService => VIRTUAL_SERVICES,
            appmesh::Kind::Route => ROUTES,
            appmesh::Kind::GatewayRoute => GATEWAY_ROUTES,
        },
    }
}

fn health_check(it: &Object) -> String {
    let spec = &it.document["spec"];
    match spec.get("HealthCheckCustomConfig") {
        Some(_) => "custom".into(),
        None => json::text(spec, "/HealthCheckConfig/Type"),
    }
}

/// `8080/http,9090/tcp`.
fn listeners(it: &Object) -> String {
    let listeners = json::items(&it.document, "/spec/listeners").iter();
    let mappings: Vec<String> = listeners
        .map(|listener| {
            let port = json::text(listener, "/portMapping/port");
            format!("{port}/{}", json::text(listener, "/portMapping/protocol"))
        })
        .collect();
    mappings.join(",")
}

/// `dns:front.local` or `cloudmap:shop.local/front`.
fn discovery(it: &Object) -> String {
    let discovery = &it.document["spec"]["serviceDiscovery"];
    if discovery.get("dns").is_some() {
        return format!("dns:{}", json::text(discovery, "/dns/hostname"));
    }
    match discovery.get("awsCloudMap") {
        None => String::new(),
        Some(map) => {
            let namespace = json::text(map, "/namespaceName");
            format!("cloudmap:{namespace}/{}", json::text(map, "/serviceName"))
        }
    }
}

/// `virtualrouter/front`.
fn provider(it: &Object) -> String {
    let provider = it.document["spec"]["provider"].as_object();
    let Some((kind, named)) = provider.and_then(|provider| provider.iter().next()) else {
        return String::new();
    };
    let name = json::text(named, &format!("/{kind}Name"));
    format!("{}/{name}", kind.to_lowercase())
}

/// The member of a route spec with its type, such as `httpRoute`.
fn route(it: &Object) -> Option<(&str, &Value)> {
    let members = it.document["spec"].as_object()?;
    let mut routes = members.iter().filter_map(|(member, route)| {
        let protocol = member.strip_suffix("Route")?;
        Some((protocol, route))
    });
    routes.next()
}

/// The match of a route: `http prefix=/api method=GET`.
fn matches(it: &Object) -> String {
    let Some((protocol, route)) = route(it) else {
        return String::new();
    };
    let conditions = route["match"].as_object().into_iter().flatten();
    let conditions = conditions.map(|(member, value)| match value {
        Value::Array(items) => {
            let names: Vec<String> = items
                .iter()
                .map(|item| json::scalar(&item["name"]))
                .collect();
            format!(" {member}={}", names.join("+"))
        }
        Value::Object(inner) => {
            let inner: Vec<String> = inner.values().map(json::scalar).collect();
            format!(" {member}={}", inner.join("+"))
        }
        value => format!(" {member}={}", json::scalar(value)),
    });
    protocol.to_owned() + &conditions.collect::<String>()
}

/// `front-v1=90,front-v2=10`: virtual nodes with their weights.
fn targets(it: &Object) -> String {
    let Some((_, route)) = route(it) else {
        return String::new();
    };
    let targets = json::items(route, "/action/weightedTargets").iter();
    let targets: Vec<String> = targets
        .map(|target| {
            let node = json::text(target, "/virtualNode");
            format!("{node}={}", json::text(target, "/weight"))
        })
        .collect();
    targets.join(",")
}
