//! The virtual nodes of all clusters that use the registry, and their pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tombolo_kube::crd::{Kind, VirtualNode};
use tombolo_kube::inject::CLOUD_MAP_GATE;
use tombolo_kube::register::{self, Instance, Owner, PodClass};
use tombolo_kube::{ClusterObjects, ObjectExt, PodExt, selector};

use crate::{CLUSTER_ATTRIBUTE, Cluster, ObjectRef};

/// A service by namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: String,
    /// The service in the namespace.
    pub service: String,
}

/// A virtual node of one cluster, with the service of its instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeKey {
    /// The service of its instances.
    pub service: ServiceName,
    /// Index of the cluster.
    pub cluster: usize,
    /// The mesh's name in the mesh API.
    pub mesh: String,
    /// The node's name in the mesh API.
    pub node: String,
}

impl NodeKey {
    /// The node of one of these clusters that registered an instance of a service.
    pub(super) fn of_instance<'a>(
        service: &ServiceName,
        instance: &Instance,
        mut clusters: impl Iterator<Item = &'a str>,
    ) -> Option<Self> {
        let attribute = |name: &str| instance.attributes.get(name);
        let cluster = attribute(CLUSTER_ATTRIBUTE)?;
        Some(Self {
            service: service.clone(),
            cluster: clusters.position(|name| name == cluster)?,
            mesh: attribute(register::MESH)?.clone(),
            node: attribute(register::VIRTUAL_NODE)?.clone(),
        })
    }
}

/// Namespace and name of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl PodRef {
    fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.namespace().to_owned(),
            name: pod.name().to_owned(),
        }
    }
}

/// A pod of a node.
#[derive(Clone, Debug)]
pub struct NodePod {
    /// Whether it must be registered.
    pub class: PodClass,
    /// The instance to register.
    pub instance: Instance,
    /// The pod.
    pub pod: PodRef,
    /// Whether it has the registry's readiness gate and its condition is not set.
    pub awaits_readiness_gate: bool,
}

/// A virtual node that uses the registry.
pub(super) struct Node {
    object: Arc<VirtualNode>,
    pub(super) source: ObjectRef,
    pub(super) uid: String,
}

/// The desired state of the registry, as it changes.
#[derive(Default)]
pub(super) struct Nodes {
    seen: Vec<Arc<ClusterObjects>>,
    nodes: BTreeMap<NodeKey, Node>,
    /// Objects that are being deleted, by the node that they were.
    deleted: BTreeMap<NodeKey, ObjectRef>,
    /// Pods of each cluster.
    pods: Vec<BTreeMap<PodRef, Arc<Pod>>>,
    /// Names of the clusters, for the attribute of instances.
    clusters: Vec<String>,
}

impl Nodes {
    /// Applies the current objects and pods; returns the nodes to reconcile.
    pub(super) fn refresh<C: Cluster>(&mut self, clusters: &[Arc<C>]) -> BTreeSet<NodeKey> {
        let mut changed = BTreeSet::new();
        let names = clusters.iter().map(|cluster| cluster.name().to_owned());
        self.clusters = names.collect();
        let objects: Vec<_> = clusters.iter().map(|cluster| cluster.objects()).collect();
        if !crate::cluster::is_same(&self.seen, &objects) {
            let all = objects.iter().enumerate();
            let all = all.flat_map(|(index, objects)| in_cluster(index, objects));
            let (deleted, nodes): (Vec<_>, Vec<_>) =
                all.partition(|(_, node)| node.object.metadata.deletion_timestamp.is_some());
            let nodes = BTreeMap::from_iter(nodes);
            let deleted = deleted.into_iter().map(|(key, node)| (key, node.source));
            let deleted: BTreeMap<_, _> = deleted
                .filter(|(key, _)| !nodes.contains_key(key))
                .collect();
            let new = deleted
                .keys()
                .filter(|key| !self.deleted.contains_key(*key));
            changed.extend(new.cloned());
            self.deleted = deleted;
            let old = std::mem::replace(&mut self.nodes, nodes);
            let deleted = old.keys().filter(|key| !self.nodes.contains_key(*key));
            changed.extend(deleted.cloned());
            for (key, node) in &self.nodes {
                let old = old.get(key);
                if old.is_none_or(|old| old.object.spec != node.object.spec) {
                    changed.insert(key.clone());
                }
            }
            self.seen = objects;
        }
        self.pods.resize_with(clusters.len(), BTreeMap::new);
        for (index, cluster) in clusters.iter().enumerate() {
            let new: BTreeMap<PodRef, Arc<Pod>> = cluster
                .pods()
                .into_iter()
                .map(|pod| (PodRef::of(&pod), pod))
                .collect();
            let old = std::mem::replace(&mut self.pods[index], new);
            let new = &self.pods[index];
            let deleted = old.iter().filter(|(key, _)| !new.contains_key(*key));
            let moved = new
                .iter()
                .filter(|(key, pod)| old.get(*key).is_none_or(|old| !Arc::ptr_eq(old, pod)));
            let before = moved.clone().filter_map(|(key, _)| old.get_key_value(key));
            for (_, pod) in deleted.chain(moved.clone()).chain(before) {
                changed.extend(self.selecting(index, pod).cloned());
            }
        }
        changed
    }

    /// Nodes of a cluster whose selector matches a pod.
    fn selecting<'a>(&'a self, cluster: usize, pod: &'a Pod) -> impl Iterator<Item = &'a NodeKey> {
        let selecting = self
            .nodes
            .iter()
            .filter(move |(key, node)| key.cluster == cluster && node.selects(pod));
        selecting.map(|(key, _)| key)
    }

    /// The object of a node that is being deleted.
    pub(super) fn deleted(&self, key: &NodeKey) -> Option<&ObjectRef> {
        self.deleted.get(key)
    }

    /// Deleted nodes of a service.
    pub(super) fn deleted_of(&self, service: &ServiceName) -> Vec<NodeKey> {
        let all = self.deleted.keys();
        all.filter(|key| key.service == *service).cloned().collect()
    }

    /// The objects of nodes that are not being deleted.
    pub(super) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.nodes.values().map(|node| &node.source)
    }

    pub(super) fn contains(&self, key: &NodeKey) -> bool {
        self.nodes.contains_key(key)
    }

    pub(super) fn get(&self, key: &NodeKey) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// Services that nodes use.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.nodes.keys().map(|key| &key.service)
    }

    /// Nodes that use a service.
    pub(super) fn of_service(&self, service: &ServiceName) -> impl Iterator<Item = &NodeKey> {
        self.nodes.keys().filter(move |key| key.service == *service)
    }

    /// One of the nodes that use a service.
    pub(super) fn user(&self, service: &ServiceName) -> Option<&Node> {
        let key = self.of_service(service).next()?;
        self.nodes.get(key)
    }

    /// The pods of a node that have an address. `cluster` is the node's.
    pub(super) fn pods<C: Cluster>(&self, key: &NodeKey, node: &Node, cluster: &C) -> Vec<NodePod> {
        let owner = Owner {
            mesh: key.mesh.clone(),
            virtual_node: key.node.clone(),
        };
        let pods = self.pods[key.cluster]
            .values()
            .filter(|pod| node.selects(pod));
        let pods = pods.filter_map(|pod| {
            let host = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let host = host.and_then(|host| cluster.host_labels(host));
            let mut instance = register::instance(pod, &node.object, &owner, host.as_ref())?;
            let cluster = self.clusters[key.cluster].clone();
            instance
                .attributes
                .insert(CLUSTER_ATTRIBUTE.to_owned(), cluster);
            Some(NodePod {
                class: register::classify(pod),
                instance,
                pod: PodRef::of(pod),
                awaits_readiness_gate: awaits_readiness_gate(pod),
            })
        });
        pods.collect()
    }
}

impl Node {
    fn selects(&self, pod: &Pod) -> bool {
        let selector = self.object.spec.pod_selector.as_ref();
        pod.metadata.namespace == self.object.metadata.namespace
            && selector.is_some_and(|selector| selector::matches(selector, pod.labels()))
    }
}

/// The nodes of a cluster with Cloud Map discovery. A node whose mesh is deleted is not in a mesh.
fn in_cluster(index: usize, objects: &ClusterObjects) -> impl Iterator<Item = (NodeKey, Node)> {
    objects.virtual_nodes().filter_map(move |node| {
        let cloud_map = node.spec.cloud_map()?;
        let mesh = objects.mesh(&node.spec.mesh_ref.as_ref()?.name)?;
        let key = NodeKey {
            service: ServiceName {
                namespace: cloud_map.namespace_name.clone(),
                service: cloud_map.service_name.clone(),
            },
            cluster: index,
            mesh: mesh.spec.aws_name.clone()?,
            node: node.spec.aws_name.clone()?,
        };
        let uid = node.metadata.uid.clone().unwrap_or_default();
        let node = Node {
            source: ObjectRef {
                cluster: index,
                kind: Kind::VirtualNode,
                namespace: node.metadata.namespace.clone().unwrap_or_default(),
                name: node.metadata.name.clone().unwrap_or_default(),
            },
            object: Arc::new(node.clone()),
            uid,
        };
        Some((key, node))
    })
}

fn awaits_readiness_gate(pod: &Pod) -> bool {
    let mut gates = pod.readiness_gates();
    gates.any(|gate| gate == CLOUD_MAP_GATE) && !pod.has_condition(CLOUD_MAP_GATE)
}
