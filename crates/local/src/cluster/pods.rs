//! Pods as objects: their creation and the start of their deletion. [`crate::kubelet`] runs them.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::{Codec, ObjectExt, Violation};

use super::limits::MAX_PODS;
use super::object_store::{Key, Objects};
use super::{Kind, ReconcileContext};

/// `terminationGracePeriodSeconds` of a pod that sets none.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// The reason why a pod is not created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// The cluster has the maximum number of pods.
    #[error("a cluster has at most {MAX_PODS} pods here")]
    TooMany,
    /// The name is taken.
    #[error("pods \"{0}\" already exists")]
    Exists(String),
    /// The injector refuses it.
    #[error(transparent)]
    Denied(#[from] Violation),
}

/// Stores a new pod as the injector returns it.
///
/// # Errors
/// The injector denies it, its name is taken, or the cluster is full.
pub(super) fn create(
    objects: &mut Objects,
    context: &ReconcileContext<'_>,
    pod: Pod,
) -> Result<(), CreateError> {
    if objects.of_kind(Kind::Pod).count() >= MAX_PODS {
        return Err(CreateError::TooMany);
    }
    let mut pod = (context.inject)(objects, pod)?;
    pod.status = Some(PodStatus {
        phase: Some("Pending".into()),
        ..PodStatus::default()
    });
    let key = Key::new(Kind::Pod, pod.namespace(), pod.name());
    let created = objects.create(key, pod.to_json(), context.now, context.names);
    created
        .map(drop)
        .ok_or_else(|| CreateError::Exists(pod.name().to_owned()))
}

/// Begins the deletion of a pod, or shortens its grace period. `false` when there is no such pod.
pub(super) fn delete(
    objects: &mut Objects,
    namespace: &str,
    name: &str,
    grace_seconds: Option<i64>,
    now: Timestamp,
) -> bool {
    let Some(pod) = objects.get::<Pod>(namespace, name) else {
        return false;
    };
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
    let grace = grace_seconds
        .or(own)
        .unwrap_or(DEFAULT_GRACE_SECONDS)
        .max(0);
    objects.begin_deletion(&Key::new(Kind::Pod, namespace, name), grace, now);
    true
}
