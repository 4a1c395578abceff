//! What is admitted although somebody will be surprised.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::cluster::{ClusterObjects, ObjectKey};
use crate::crd::Resource;

/// Warnings at most.
const MAX: usize = 5;

/// What somebody who writes this object should know: it does not keep it from being admitted.
pub fn warnings(resource: &Resource, objects: &ClusterObjects) -> Vec<String> {
    let mut warnings = match resource {
        Resource::VirtualNode(_) | Resource::VirtualGateway(_) => same_pods(resource, objects),
        _ => Vec::new(),
    };
    warnings.extend(same_name(resource, objects));
    warnings.truncate(MAX);
    warnings
}

/// Nodes and gateways whose every pod is also one of this, or the other way round: such pods will be denied.
fn same_pods(resource: &Resource, objects: &ClusterObjects) -> Vec<String> {
    let Some(own) = pod_selector(resource) else {
        return Vec::new();
    };
    let nodes = objects.all(crate::crd::Kind::VirtualNode);
    let others = nodes.chain(objects.all(crate::crd::Kind::VirtualGateway));
    others
        .filter(|other| other.namespace() == resource.namespace() && !is_same(resource, other))
        .filter(|other| pod_selector(other).is_some_and(|it| covers(it, own) || covers(own, it)))
        .map(|other| {
            format!(
                "spec.podSelector: {} {} selects pods that this selects too; they will be denied",
                other.kind(),
                ObjectKey::of(other)
            )
        })
        .collect()
}

/// Another object of the same kind that has the same name in the mesh API. In one mesh that is one and the same.
fn same_name(resource: &Resource, objects: &ClusterObjects) -> Option<String> {
    let name = resource.aws_name()?;
    let mut others = objects.all(resource.kind());
    let other = others.find(|other| {
        other.aws_name() == Some(name)
            && other.mesh_ref() == resource.mesh_ref()
            && !is_same(resource, other)
    })?;
    Some(format!(
        "spec.awsName: {} {} is called {name} too; the two will overwrite each other",
        other.kind(),
        ObjectKey::of(other)
    ))
}

fn is_same(one: &Resource, other: &Resource) -> bool {
    one.kind() == other.kind() && ObjectKey::of(one) == ObjectKey::of(other)
}

fn pod_selector(resource: &Resource) -> Option<&LabelSelector> {
    match resource {
        Resource::VirtualNode(node) => node.spec.pod_selector.as_ref(),
        Resource::VirtualGateway(gateway) => gateway.spec.pod_selector.as_ref(),
        _ => None,
    }
}

/// Whether everything that `narrow` selects is selected by `wide`, as far as their labels tell.
fn covers(wide: &LabelSelector, narrow: &LabelSelector) -> bool {
    let is_plain = wide.match_expressions.iter().flatten().next().is_none();
    let narrow = narrow.match_labels.as_ref();
    let mut wide = wide.match_labels.iter().flatten();
    is_plain && wide.all(|(key, value)| narrow.and_then(|labels| labels.get(key)) == Some(value))
}
