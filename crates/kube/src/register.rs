//! Converts pods to Cloud Map instances (`facts/controller.md` §4).
//!
//! A virtual node with Cloud Map discovery owns the instances that have its mesh and its name as attributes, and no
//! others, so several nodes, and several clusters, can share one service.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use tombolo_model::cloudmap::attributes::{
    INIT_HEALTH_STATUS, INSTANCE_IPV4, INSTANCE_IPV6, INSTANCE_PORT,
};

use crate::crd::VirtualNode;
use crate::selector::Labels;

/// Attribute with the owner's mesh.
pub const MESH: &str = "appmesh.k8s.aws/mesh";
/// Attribute with the owner's name.
pub const VIRTUAL_NODE: &str = "appmesh.k8s.aws/virtualNode";

const REGION_LABELS: [&str; 2] = [
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
];
const ZONE_LABELS: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];

/// The state of a pod for the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodClass {
    /// Not registered: it terminates, has ended, or has no address yet.
    Ignored,
    /// Takes traffic.
    Ready,
    /// Takes no traffic now.
    NotReady,
}

/// Classifies a pod. The condition `Ready` is not used: it depends on the registry's readiness gate, which would be
/// circular.
pub fn classify(pod: &Pod) -> PodClass {
    let Some(status) = &pod.status else {
        return PodClass::Ignored;
    };
    let has_address = status.pod_ip.as_ref().is_some_and(|ip| !ip.is_empty());
    if pod.metadata.deletion_timestamp.is_some() || !has_address {
        return PodClass::Ignored;
    }
    let mut conditions = status.conditions.iter().flatten();
    if conditions
        .any(|condition| condition.type_ == "ContainersReady" && condition.status == "True")
    {
        return PodClass::Ready;
    }
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref())
        .unwrap_or("Always");
    match (policy, status.phase.as_deref()) {
        ("Never", Some("Failed" | "Succeeded")) | ("OnFailure", Some("Succeeded")) => {
            PodClass::Ignored
        }
        _ => PodClass::NotReady,
    }
}

/// An instance of a registry service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The pod's address.
    pub id: String,
    /// The attributes, by name.
    pub attributes: BTreeMap<String, String>,
}

/// The virtual node that owns instances, by its names in the mesh API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The mesh.
    pub mesh: String,
    /// The virtual node.
    pub virtual_node: String,
}

impl Owner {
    fn owns(&self, instance: &Instance) -> bool {
        let is = |key: &str, value: &String| instance.attributes.get(key) == Some(value);
        is(MESH, &self.mesh) && is(VIRTUAL_NODE, &self.virtual_node)
    }
}

/// The instance of a pod of `node`; `None` while the pod has no address.
///
/// Attributes, later ones overriding earlier ones: the pod's labels, the node's own attributes, and those that the
/// registry and the proxies need. `host_labels` are those of the machine; region and zone are left out when it has
/// none.
pub fn instance(
    pod: &Pod,
    node: &VirtualNode,
    owner: &Owner,
    host_labels: Option<&Labels>,
) -> Option<Instance> {
    let id = pod
        .status
        .as_ref()?
        .pod_ip
        .clone()
        .filter(|ip| !ip.is_empty())?;
    let mut attributes = pod.metadata.labels.clone().unwrap_or_default();
    let own = node
        .spec
        .cloud_map()
        .and_then(|cloud_map| cloud_map.attributes.as_ref());
    attributes.extend(
        own.into_iter()
            .flatten()
            .map(|attribute| (attribute.key.clone(), attribute.value.clone())),
    );
    let mut set = |key: &str, value: String| attributes.insert(key.to_owned(), value);
    let is_ipv6 = id.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    set(
        if is_ipv6 {
            INSTANCE_IPV6
        } else {
            INSTANCE_IPV4
        },
        id.clone(),
    );
    if let Some(listener) = node.spec.listeners().first() {
        set(INSTANCE_PORT, listener.port_mapping.port.to_string());
    }
    set("k8s.io/pod", pod.metadata.name.clone().unwrap_or_default());
    set(
        "k8s.io/namespace",
        pod.metadata.namespace.clone().unwrap_or_default(),
    );
    set(MESH, owner.mesh.clone());
    set(VIRTUAL_NODE, owner.virtual_node.clone());
    for (attribute, labels) in [
        ("REGION", REGION_LABELS),
        ("AVAILABILITY_ZONE", ZONE_LABELS),
    ] {
        let value = labels.iter().find_map(|label| host_labels?.get(*label));
        if let Some(value) = value {
            set(attribute, value.clone());
        }
    }
    Some(Instance { id, attributes })
}

/// The calls that reconcile the registry with the pods. Lists are sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Instances to register, with these attributes, [`INIT_HEALTH_STATUS`] included.
    pub register: Vec<Instance>,
    /// Ids to deregister.
    pub deregister: Vec<String>,
    /// Ids with the health to report; empty unless the service has custom health checks.
    pub health: Vec<(String, bool)>,
}

impl Changes {
    /// Whether nothing has to be registered or deregistered.
    pub fn is_settled(&self) -> bool {
        self.register.is_empty() && self.deregister.is_empty()
    }
}

/// Compares the pods of a node with the registered instances of its service.
///
/// `registered` may contain instances of other owners; they are ignored. With `custom_health` a pod that is no longer
/// ready stays registered and is reported unhealthy. A pod that is not ready is never registered anew.
pub fn diff(
    owner: &Owner,
    pods: &[(PodClass, Instance)],
    registered: &[Instance],
    custom_health: bool,
) -> Changes {
    let ours: BTreeMap<&str, &Instance> = registered
        .iter()
        .filter(|instance| owner.owns(instance))
        .map(|instance| (instance.id.as_str(), instance))
        .collect();
    let mut changes = Changes::default();
    let mut kept = BTreeSet::new();
    for (class, instance) in pods {
        let present = ours.get(instance.id.as_str()).copied();
        match class {
            PodClass::Ignored => {}
            PodClass::Ready => {
                kept.insert(instance.id.as_str());
                if present.is_none_or(|present| !agrees(present, instance)) {
                    changes.register.push(registration(instance, present));
                }
                if custom_health {
                    changes.health.push((instance.id.clone(), true));
                }
            }
            PodClass::NotReady if custom_health && present.is_some() => {
                kept.insert(instance.id.as_str());
                changes.health.push((instance.id.clone(), false));
            }
            PodClass::NotReady => {}
        }
    }
    changes.deregister = ours
        .keys()
        .filter(|id| !kept.contains(*id))
        .map(|id| (*id).to_owned())
        .collect();
    changes.register.sort_by(|a, b| a.id.cmp(&b.id));
    changes.health.sort();
    changes
}

fn agrees(present: &Instance, wanted: &Instance) -> bool {
    let compared = |instance: &Instance| {
        let mut attributes = instance.attributes.clone();
        attributes.remove(INIT_HEALTH_STATUS);
        attributes
    };
    compared(present) == compared(wanted)
}

/// A new instance starts healthy; an updated one keeps its initial health status.
fn registration(instance: &Instance, present: Option<&Instance>) -> Instance {
    let mut registration = instance.clone();
    let before = present.and_then(|present| present.attributes.get(INIT_HEALTH_STATUS));
    let health = before.cloned().unwrap_or_else(|| "HEALTHY".to_owned());
    registration
        .attributes
        .insert(INIT_HEALTH_STATUS.to_owned(), health);
    registration
}
