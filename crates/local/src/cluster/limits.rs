//! Limits of one cluster: far above the needs of one machine, and far below its exhaustion.

use k8s_openapi::api::core::v1::PodSpec;
use tombolo_kube::manifest::Object;
use tombolo_kube::{FieldPath, PodSpecExt, Violation};

/// Maximum replicas of a Deployment.
const MAX_REPLICAS: i32 = 1_000;

/// Maximum pods of a cluster.
pub(crate) const MAX_PODS: usize = 5_000;

/// Maximum objects of a cluster, pods included.
pub(crate) const MAX_OBJECTS: usize = 50_000;

/// Maximum containers of a pod, init containers included. Each is a process with a file system of its own.
pub(crate) const MAX_CONTAINERS: usize = 100;

/// Maximum volumes of a pod.
const MAX_VOLUMES: usize = 200;

/// A violation for each limit that an object exceeds by itself.
pub(super) fn check(object: &Object) -> Vec<Violation> {
    let mut violations = Vec::new();
    if let Object::Deployment(deployment) = object {
        let spec = deployment.spec.as_ref();
        violations.extend(spec.and_then(|spec| replicas(spec.replicas?)));
    }
    let Some((spec, path)) = pod_spec(object) else {
        return violations;
    };
    for (field, count, max) in [
        ("containers", spec.all_containers().count(), MAX_CONTAINERS),
        (
            "volumes",
            spec.volumes.iter().flatten().count(),
            MAX_VOLUMES,
        ),
    ] {
        if count > max {
            let message = format!("has {count} entries; a pod has at most {max} here");
            violations.push(Violation::new(path.clone().field(field), message));
        }
    }
    violations
}

/// The pod spec in an object that has one, with its path.
pub(crate) fn pod_spec(object: &Object) -> Option<(&PodSpec, FieldPath)> {
    match object {
        Object::Deployment(deployment) => {
            let template = &deployment.spec.as_ref()?.template;
            Some((template.spec.as_ref()?, "spec.template.spec".into()))
        }
        Object::Pod(pod) => Some((pod.spec.as_ref()?, "spec".into())),
        _ => None,
    }
}

/// The violation when a Deployment has too many replicas.
pub(crate) fn replicas(replicas: i32) -> Option<Violation> {
    let message = if replicas < 0 {
        format!("is {replicas}; it must be 0 or more")
    } else if replicas > MAX_REPLICAS {
        format!(
            "is {replicas}; a Deployment has at most {MAX_REPLICAS} pods here, each of them runs on this machine"
        )
    } else {
        return None;
    };
    Some(Violation::new("spec.replicas", message))
}
