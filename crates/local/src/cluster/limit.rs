//! How much one cluster holds. The numbers are far above what one machine runs, and far below what would take it down.

use k8s_openapi::api::core::v1::PodSpec;
use tombolo_kube::{Denial, FieldPath};

/// Pods that a Deployment may ask for.
pub const MAX_REPLICAS: i32 = 1_000;

/// Pods of a cluster.
pub const MAX_PODS: usize = 5_000;

/// Objects of a cluster, pods included.
pub const MAX_OBJECTS: usize = 50_000;

/// Containers of a pod, init containers included. Each is a process with a file system of its own.
pub const MAX_CONTAINERS: usize = 100;

/// Volumes of a pod.
pub const MAX_VOLUMES: usize = 200;

/// What is too much in a Deployment's `replicas`.
pub fn replicas(replicas: Option<i32>) -> Option<Denial> {
    let replicas = replicas?;
    let message = if replicas < 0 {
        format!("is {replicas}; it must be 0 or more")
    } else if replicas > MAX_REPLICAS {
        format!(
            "is {replicas}; a Deployment has at most {MAX_REPLICAS} pods here, each of them runs on this machine"
        )
    } else {
        return None;
    };
    Some(Denial::new("spec.replicas", message))
}

/// What is too much in a pod. `path` leads to its spec.
pub fn pod(spec: Option<&PodSpec>, path: &str) -> Vec<Denial> {
    let Some(spec) = spec else {
        return Vec::new();
    };
    let containers = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len);
    let volumes = spec.volumes.as_ref().map_or(0, Vec::len);
    let mut denials = Vec::new();
    for (field, count, max) in [
        ("containers", containers, MAX_CONTAINERS),
        ("volumes", volumes, MAX_VOLUMES),
    ] {
        if count > max {
            let message = format!("has {count} entries; a pod has at most {max} here");
            denials.push(Denial::new(FieldPath::from(path).field(field), message));
        }
    }
    denials
}
