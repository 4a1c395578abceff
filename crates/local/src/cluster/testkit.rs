//! Small clusters for tests.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::manifest::{self, Source};

use super::{Cluster, Key, Kind, NameGenerator, ObjectStore, apply, deletion};

/// The manifest of the namespace `shop`, to which other documents are appended.
pub(crate) const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n";

/// The manifests of a namespace `shop` in a mesh `m`, to which other documents are appended.
pub(crate) const MESH: &str = "apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {mesh: m}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {matchLabels: {mesh: m}}}
---
";

/// A cluster with these manifests applied and reconciled, without injection. The index is the second number of its pod
/// range.
pub(crate) fn cluster_of(name: &str, index: u8, text: &str) -> Arc<Cluster> {
    let cluster = Arc::new(Cluster {
        name: name.to_owned(),
        range: format!("10.{index}.0.0/24").parse().unwrap(),
        services: "10.100.0.0/16".parse().unwrap(),
        objects: ObjectStore::default(),
        names: Arc::new(NameGenerator::seeded(u64::from(index) + 1)),
        inject: Box::new(|_, pod| Ok(pod)),
    });
    apply_to(&cluster, text);
    cluster
}

/// Applies manifests and reconciles.
pub(crate) fn apply_to(cluster: &Cluster, text: &str) {
    let sources = [Source::new("test.yaml", text)];
    let read = manifest::read(&sources, &manifest::Options::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    let context = cluster.context(Timestamp::UNIX_EPOCH);
    let applied = cluster
        .objects
        .write(|objects| apply::apply(objects, read, &context));
    applied.unwrap_or_else(|problems| panic!("{problems:?}"));
    cluster.reconcile(Timestamp::UNIX_EPOCH);
}

/// Deletes an object as a user does.
pub(crate) fn delete(cluster: &Cluster, kind: Kind, name: &str, grace_seconds: Option<i64>) {
    let key = Key::new(kind, "shop", name);
    let now = Timestamp::UNIX_EPOCH;
    let objects = &cluster.objects;
    assert!(objects.write(|objects| deletion::delete(objects, &key, grace_seconds, now)));
}

/// Makes a pod of the namespace `shop` ready at an address, as its worker does.
pub(crate) fn pod_is_ready(cluster: &Cluster, name: &str, address: &str) {
    let mut seen = false;
    cluster.objects.write(|objects| {
        objects.edit::<Pod>("shop", name, |pod| {
            seen = true;
            let status = pod.status.get_or_insert_default();
            status.pod_ip = Some(address.to_owned());
            let condition = |kind: &str| PodCondition {
                type_: kind.into(),
                status: "True".into(),
                ..PodCondition::default()
            };
            status.conditions = Some(vec![condition("ContainersReady"), condition("Ready")]);
            status.phase = Some("Running".to_owned());
        })
    });
    assert!(seen, "there is no pod {name}");
}
