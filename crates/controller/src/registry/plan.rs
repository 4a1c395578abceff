//! The decision for one virtual node of one cluster: its pods and the registered instances in, calls out.

use std::collections::BTreeMap;

use tombolo_kube::register::{self, Instance, Owner};

use super::nodes::{NodeKey, NodePod};
use crate::CLUSTER_ATTRIBUTE;

/// The pending calls. Lists are sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Instances to register.
    pub register: Vec<Instance>,
    /// Ids to deregister.
    pub deregister: Vec<String>,
    /// Addresses of ready pods that are registered for another node or cluster. The first registration stays.
    pub taken: Vec<String>,
}

/// Compares the pods of a node with the instances of its service. Instances of other nodes and of other clusters are
/// ignored; an instance without a cluster attribute belongs to any cluster that has the node.
pub fn plan(
    key: &NodeKey,
    cluster: &str,
    pods: &[NodePod],
    registered: &BTreeMap<String, Instance>,
) -> Plan {
    let owner = Owner {
        mesh: key.mesh.clone(),
        virtual_node: key.node.clone(),
    };
    let of_cluster = |instance: &&Instance| {
        let named = instance.attributes.get(CLUSTER_ATTRIBUTE);
        named.is_none_or(|named| named == cluster)
    };
    let candidates: Vec<Instance> = registered.values().filter(of_cluster).cloned().collect();
    let wanted: Vec<_> = pods
        .iter()
        .map(|pod| (pod.class, pod.instance.clone()))
        .collect();
    let changes = register::diff(&owner, &wanted, &candidates, false);
    let is_taken = |id: &str| {
        registered.get(id).is_some_and(|instance| {
            let names =
                |attribute: &str, value: &String| instance.attributes.get(attribute) == Some(value);
            let same_node =
                names(register::MESH, &key.mesh) && names(register::VIRTUAL_NODE, &key.node);
            !(same_node && of_cluster(&instance))
        })
    };
    let (taken, register): (Vec<_>, Vec<_>) = changes
        .register
        .into_iter()
        .partition(|new| is_taken(&new.id));
    Plan {
        register,
        deregister: changes.deregister,
        taken: taken.into_iter().map(|instance| instance.id).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes::{PodRef, ServiceName};
    use super::*;
    use tombolo_kube::register::PodClass;

    fn key(node: &str) -> NodeKey {
        NodeKey {
            service: ServiceName {
                namespace: "shop.local".to_owned(),
                service: "color".to_owned(),
            },
            cluster: 0,
            mesh: "m".to_owned(),
            node: node.to_owned(),
        }
    }

    fn instance(id: &str, node: &str, cluster: Option<&str>) -> Instance {
        let mut attributes: BTreeMap<String, String> =
            [(register::MESH, "m"), (register::VIRTUAL_NODE, node)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        attributes
            .extend(cluster.map(|cluster| (CLUSTER_ATTRIBUTE.to_owned(), cluster.to_owned())));
        Instance {
            id: id.to_owned(),
            attributes,
        }
    }

    fn pod(id: &str) -> NodePod {
        NodePod {
            class: PodClass::Ready,
            instance: instance(id, "red", Some("east")),
            pod: PodRef::default(),
            awaits_readiness_gate: false,
        }
    }

    fn run(pods: &[&str], registered: &[Instance]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let pods: Vec<NodePod> = pods.iter().map(|id| pod(id)).collect();
        let registered = registered
            .iter()
            .map(|one| (one.id.clone(), one.clone()))
            .collect();
        let plan = plan(&key("red"), "east", &pods, &registered);
        let ids = plan
            .register
            .into_iter()
            .map(|instance| instance.id)
            .collect();
        (ids, plan.deregister, plan.taken)
    }

    #[test]
    fn only_instances_of_the_node_in_this_cluster_are_deregistered() {
        let registered = [
            instance("1", "red", Some("east")),
            instance("2", "red", Some("west")),
            instance("3", "blue", Some("east")),
            instance("4", "red", None),
        ];
        let (register, deregister, taken) = run(&["5"], &registered);
        assert_eq!(register, ["5"]);
        assert_eq!(deregister, ["1", "4"]);
        assert!(taken.is_empty());
    }

    #[test]
    fn address_of_another_cluster_or_node_is_not_taken_over() {
        let registered = [
            instance("1", "red", Some("west")),
            instance("2", "blue", Some("east")),
            instance("3", "red", None),
        ];
        let (register, deregister, taken) = run(&["1", "2", "3"], &registered);
        assert_eq!((register, deregister), (vec!["3".to_owned()], vec![]));
        assert_eq!(taken, ["1", "2"]);
    }
}
