//! Rules between fields that are not bounds of one value.

use std::collections::BTreeMap;

use crate::crd::{Resource, VirtualNode, VirtualRouter};
use crate::field::{Denial, FieldPath};

pub(super) fn check(resource: &Resource) -> Vec<Denial> {
    match resource {
        Resource::VirtualNode(node) => virtual_node(node),
        Resource::VirtualRouter(router) => virtual_router(router),
        _ => Vec::new(),
    }
}

fn virtual_node(node: &VirtualNode) -> Vec<Denial> {
    let mut denials = Vec::new();
    if node.spec.listeners.is_some() && node.spec.service_discovery.is_none() {
        denials.push(Denial::new(
            "spec.serviceDiscovery",
            "is required, because spec.listeners is given: give awsCloudMap or dns",
        ));
    }
    let own = node.metadata.namespace.as_deref().unwrap_or_default();
    let mut seen = BTreeMap::new();
    for (index, backend) in node.spec.backends.iter().flatten().enumerate() {
        let service = &backend.virtual_service;
        // A pair of namespace and name: joined by a dash, `a-b/c` and `a/b-c` would be one backend.
        let identity = match (&service.virtual_service_arn, &service.virtual_service_ref) {
            (Some(arn), _) => ("", arn.as_str()),
            (None, Some(reference)) => reference.resolve(own),
            (None, None) => continue,
        };
        if let Some(first) = seen.insert(identity, index) {
            let field = FieldPath::from("spec.backends")
                .index(index)
                .field("virtualService");
            denials.push(Denial::new(
                field,
                format!("is the same as spec.backends[{first}]; remove one"),
            ));
        }
    }
    denials
}

fn virtual_router(router: &VirtualRouter) -> Vec<Denial> {
    let mut denials = Vec::new();
    let mut seen = BTreeMap::new();
    for (index, route) in router.spec.routes().iter().enumerate() {
        if let Some(first) = seen.insert(route.name.as_str(), index) {
            let field = FieldPath::from("spec.routes").index(index).field("name");
            denials.push(Denial::new(
                field,
                format!(
                    "{:?} is the name of spec.routes[{first}] too; give each route its own",
                    route.name
                ),
            ));
        }
    }
    denials
}
