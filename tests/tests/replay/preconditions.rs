//! Preconditions of a call to App Mesh: the resources that it names, and those that its spec refers to.

use crate::{call::Call, some_name};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The verb and the kind of an operation: `Create` and `VirtualNode`.
pub(crate) fn verb_and_kind(operation: &str) -> (&str, &str) {
    let verbs = ["Create", "Describe", "Update", "Delete", "List"];
    let verb = verbs.iter().find(|verb| operation.starts_with(**verb));
    let verb = verb.unwrap_or_else(|| panic!("{operation} has no check yet"));
    let kind = &operation[verb.len()..];
    let kind = match (*verb, kind) {
        ("List", "Meshes") => "Mesh",
        ("List", kinds) => kinds.strip_suffix('s').expect("a plural"),
        _ => kind,
    };
    (verb, kind)
}

/// The parameter with the name of a resource of this kind.
pub(crate) fn name_param(kind: &str) -> String {
    member(kind) + "Name"
}

/// The member of outputs with a resource of this kind.
pub(crate) fn member(kind: &str) -> String {
    let mut member = kind.to_owned();
    member[..1].make_ascii_lowercase();
    member
}

/// The kind of the parent, if that is not the mesh.
pub(crate) fn parent(kind: &str) -> Option<&'static str> {
    match kind {
        "Route" => Some("VirtualRouter"),
        "GatewayRoute" => Some("VirtualGateway"),
        _ => None,
    }
}

/// A call on a resource, such as a describe call.
pub(crate) fn about(verb: &str, kind: &str, names: Map<String, Value>) -> Call {
    Call::new("appmesh", &format!("{verb}{kind}"), names.into())
}

/// A call that creates a resource.
fn creation(kind: &str, mut names: Map<String, Value>, spec: Value) -> Call {
    names.insert("spec".into(), spec);
    about("Create", kind, names)
}

/// The calls that create the preconditions of this call, without duplicates, in a valid order.
pub(crate) fn needs(call: &Call) -> Vec<Call> {
    let (verb, kind) = verb_and_kind(&call.operation);
    let names = call.names();
    let spec = &call.params["spec"];
    let mut needed = Vec::new();
    if kind != "Mesh" {
        let mesh = named(&names, &["Mesh"]);
        needed.push(creation("Mesh", mesh, json!({})));
    }
    if let Some(parent) = parent(kind) {
        let spec = json!({"listeners": [listener(protocol(spec))]});
        needed.push(creation(parent, named(&names, &["Mesh", parent]), spec));
    }
    needed.extend(references(&names, spec));
    if matches!(verb, "Describe" | "Update" | "Delete") {
        let itself = creation(kind, names.clone(), another_spec(kind, spec));
        needed.extend(references(&names, &itself.params["spec"]));
        needed.push(itself);
    }
    let mut seen = BTreeSet::new();
    needed.retain(|creation| {
        let names = Value::Object(creation.names());
        seen.insert((creation.operation.clone(), names.to_string()))
    });
    needed
}

/// Calls that create two resources of the kind that this call lists.
pub(crate) fn population(list: &Call) -> Vec<Call> {
    let (_, kind) = verb_and_kind(&list.operation);
    let two = [some_name(), some_name()].into_iter();
    two.map(|name| {
        let mut names = list.names();
        names.insert(name_param(kind), name.into());
        creation(kind, names, another_spec(kind, &Value::Null))
    })
    .collect()
}

/// Only the names of resources of these kinds.
fn named(names: &Map<String, Value>, kinds: &[&str]) -> Map<String, Value> {
    let named = kinds.iter().map(|kind| {
        let param = name_param(kind);
        let name = names.get(&param);
        (param, name.expect("the API names parents").clone())
    });
    named.collect()
}

/// The calls that create the targets of a spec's references.
fn references(names: &Map<String, Value>, spec: &Value) -> Vec<Call> {
    let mut found = Vec::new();
    collect(spec, &mut found);
    let calls = found.into_iter().map(|(kind, name)| {
        let mut names = named(names, &["Mesh"]);
        names.insert(name_param(kind), name.into());
        creation(kind, names, another_spec(kind, &Value::Null))
    });
    calls.collect()
}

/// Backends may be missing; all other references must exist.
fn collect(value: &Value, found: &mut Vec<(&'static str, String)>) {
    let (node, router) = ("virtualNode", "virtualRouter");
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let named = match member.as_str() {
                    "backends" => Vec::new(),
                    "weightedTargets" => {
                        let targets = value.as_array().into_iter().flatten();
                        targets
                            .map(|target| ("VirtualNode", &target[node]))
                            .collect()
                    }
                    "provider" => vec![
                        ("VirtualNode", &value[node]["virtualNodeName"]),
                        ("VirtualRouter", &value[router]["virtualRouterName"]),
                    ],
                    "target" => vec![(
                        "VirtualService",
                        &value["virtualService"]["virtualServiceName"],
                    )],
                    _ => {
                        collect(value, found);
                        continue;
                    }
                };
                let named = named.into_iter();
                found.extend(
                    named.filter_map(|(kind, name)| Some((kind, name.as_str()?.to_owned()))),
                );
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// A valid spec; for routes a different but similar one, so that an update changes something.
fn another_spec(kind: &str, spec: &Value) -> Value {
    let target = || json!({"virtualService": {"virtualServiceName": some_name()}});
    match kind {
        "Mesh" | "VirtualService" => json!({}),
        "VirtualNode" => json!({
            "listeners": [listener("http")],
            "serviceDiscovery": {"dns": {"hostname": some_name()}},
        }),
        "VirtualRouter" | "VirtualGateway" => json!({"listeners": [listener("http")]}),
        "Route" | "GatewayRoute" if spec.is_object() => {
            let mut other = spec.clone();
            let priority = other["priority"].as_u64().unwrap_or_default();
            other["priority"] = ((priority + 1) % 1000).into();
            other
        }
        "Route" => json!({"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNode": some_name(), "weight": 1}]},
        }}),
        "GatewayRoute" => json!({"httpRoute": {
            "match": {"prefix": "/"}, "action": {"target": target()},
        }}),
        kind => panic!("App Mesh has no {kind}"),
    }
}

fn listener(protocol: &str) -> Value {
    json!({"portMapping": {"port": 9080, "protocol": protocol}})
}

/// The protocol of a route with this spec.
fn protocol(route: &Value) -> &'static str {
    let spoken = ["http2", "grpc", "tcp"].into_iter();
    let mut spoken = spoken.filter(|protocol| route.get(format!("{protocol}Route")).is_some());
    spoken.next().unwrap_or("http")
}
