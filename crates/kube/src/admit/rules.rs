//! Rules that depend on the object's own namespace.

use std::collections::BTreeMap;

use tombolo_model::appmesh::spec::UnionOf;
use tombolo_model::appmesh::spec::virtual_node::Backend;

use crate::crd::{Resource, VirtualNode};
use crate::{FieldPath, Violation};

pub(super) fn check(resource: &Resource) -> Vec<Violation> {
    match resource {
        Resource::VirtualNode(node) => virtual_node(node),
        _ => Vec::new(),
    }
}

fn virtual_node(node: &VirtualNode) -> Vec<Violation> {
    let mut violations = Vec::new();
    let own = node.metadata.namespace.as_deref().unwrap_or_default();
    let mut seen = BTreeMap::new();
    for (index, backend) in node.spec.backends.iter().flatten().enumerate() {
        let Some(Backend::VirtualService(service)) = backend.get() else {
            continue;
        };
        // A pair of namespace and name: joined by a dash, `a-b/c` and `a/b-c` would be the same backend.
        let identity = match (&service.virtual_service_arn, &service.virtual_service_ref) {
            (Some(arn), _) => ("", arn.as_str()),
            (None, Some(reference)) => reference.resolve(own),
            (None, None) => continue,
        };
        if let Some(first) = seen.insert(identity, index) {
            let field = FieldPath::from("spec.backends")
                .index(index)
                .field("virtualService");
            violations.push(Violation::new(
                field,
                format!("is the same as spec.backends[{first}]; remove one"),
            ));
        }
    }
    violations
}
