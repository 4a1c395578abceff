//! Small clusters for tests.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::manifest::{self, Source};

use super::{Cluster, Entropy, Shared, apply};

/// A cluster with these manifests applied and reconciled, without injection. The second octet pair of its
/// range is its index.
pub(crate) fn cluster_of(name: &str, index: u8, text: &str) -> Arc<Cluster> {
    let cluster = Arc::new(Cluster {
        name: name.to_owned(),
        range: format!("10.{index}.0.0/24").parse().unwrap(),
        services: "10.100.0.0/16".parse().unwrap(),
        objects: Shared::default(),
        entropy: Arc::new(Entropy::seeded(u64::from(index) + 1)),
        inject: Box::new(|_, pod| Ok(pod)),
    });
    apply_to(&cluster, text);
    cluster
}

/// Applies manifests and reconciles.
pub(crate) fn apply_to(cluster: &Cluster, text: &str) {
    let read = manifest::read(
        &[Source::new("test.yaml", text)],
        &manifest::Options::default(),
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    cluster.objects.write(|objects| {
        apply::apply(
            objects,
            read,
            Timestamp::UNIX_EPOCH,
            &cluster.entropy,
            &cluster.inject,
        )
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    });
    cluster.reconcile(Timestamp::UNIX_EPOCH);
}

/// Makes a pod ready at an address, as its worker would.
pub(crate) fn pod_is_ready(cluster: &Cluster, namespace: &str, name: &str, address: &str) {
    let mut seen = false;
    cluster.objects.write(|objects| {
        objects.edit::<Pod>(namespace, name, |pod| {
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
