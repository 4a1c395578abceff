//! Pods as objects: how they come into the store and how they leave it. What runs them is [`crate::pod`].

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::Codec as _;

use super::Kind;
use super::limit::MAX_PODS;
use super::object::{Key, Objects};
use super::workload::Moment;

/// How long containers may take to end where a pod does not say.
const GRACE_SECONDS: i64 = 30;

/// Stores a new pod, after the injector had its say.
///
/// # Errors
/// The injector's denial, or a name that is taken.
pub fn create(objects: &mut Objects, moment: &Moment<'_>, pod: Pod) -> Result<(), String> {
    let pods = objects.of_kind(Kind::Pod).count();
    if pods >= MAX_PODS {
        return Err(format!("a cluster has at most {MAX_PODS} pods here"));
    }
    let mut pod = (moment.inject)(objects, pod)?;
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let name = pod.metadata.name.clone().unwrap_or_default();
    pod.status = Some(PodStatus {
        phase: Some("Pending".into()),
        ..PodStatus::default()
    });
    let key = Key::new(Kind::Pod, &namespace, &name);
    match objects.create(key, pod.to_json(), moment.now, moment.entropy) {
        Some(_) => Ok(()),
        None => Err(format!("pods \"{name}\" already exists")),
    }
}

/// Begins the end of a pod, or makes it quicker.
pub fn delete(
    objects: &mut Objects,
    namespace: &str,
    name: &str,
    grace_seconds: Option<i64>,
    now: Timestamp,
) -> bool {
    let Some(pod) = objects.get::<Pod>(namespace, name) else {
        return false;
    };
    let own = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds);
    let grace = grace_seconds.or(own).unwrap_or(GRACE_SECONDS).max(0);
    objects.begin_deletion(&Key::new(Kind::Pod, namespace, name), grace, now)
}

/// Whether a pod counts for its owner: neither ended nor about to.
pub fn active(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}
