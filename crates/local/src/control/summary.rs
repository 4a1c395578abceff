//! Pods and workloads in a few words.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde::Deserialize;
use serde_json::Value;

use super::types::{MeshProblem, PodView, Workload};
use crate::cluster::endpoint::{address, condition};
use crate::cluster::workload::owner;
use crate::cluster::{Cluster, Objects};

/// The STATUS column of `kubectl get pods`.
pub fn status_word(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let init = status.init_container_statuses.unwrap_or_default();
    let sidecars: Vec<&str> = sidecars(pod).collect();
    for (index, container) in init.iter().enumerate() {
        let state = container.state.clone().unwrap_or_default();
        // A native sidecar that runs has done its part, as in kubectl's printer.
        if sidecars.contains(&container.name.as_str()) && container.started == Some(true) {
            continue;
        }
        match (state.waiting, state.terminated) {
            (_, Some(ended)) if ended.exit_code == 0 => continue,
            (_, Some(ended)) => {
                let signal = ended.signal.filter(|signal| *signal != 0);
                let reason = ended.reason.filter(|reason| !reason.is_empty());
                return match (reason, signal) {
                    (Some(reason), _) => format!("Init:{reason}"),
                    (None, Some(signal)) => format!("Init:Signal:{signal}"),
                    (None, None) => format!("Init:ExitCode:{}", ended.exit_code),
                };
            }
            (Some(waiting), _) if waiting.reason.as_deref() != Some("PodInitializing") => {
                return format!("Init:{}", waiting.reason.unwrap_or_default());
            }
            _ => return format!("Init:{index}/{}", init.len()),
        }
    }
    for container in status.container_statuses.iter().flatten().rev() {
        let state = container.state.clone().unwrap_or_default();
        if let Some(reason) = state.waiting.and_then(|waiting| waiting.reason) {
            return reason;
        }
        if let Some(reason) = state.terminated.and_then(|ended| ended.reason) {
            return reason;
        }
    }
    status.phase.unwrap_or_else(|| "Pending".to_owned())
}

/// How many of the containers that keep running are ready, and how many there are: native sidecars count, as in kubectl.
fn ready(pod: &Pod) -> (usize, usize) {
    let spec = pod.spec.as_ref();
    let sidecars: Vec<&str> = sidecars(pod).collect();
    let all = spec.map_or(0, |spec| spec.containers.len()) + sidecars.len();
    let init = pod
        .status
        .iter()
        .flat_map(|status| status.init_container_statuses.iter().flatten());
    let init = init.filter(|status| sidecars.contains(&status.name.as_str()));
    let ready = statuses(pod)
        .into_iter()
        .chain(init)
        .filter(|status| status.ready);
    (ready.count(), all)
}

/// Names of init containers that keep running beside the others.
fn sidecars(pod: &Pod) -> impl Iterator<Item = &str> {
    let init = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    init.filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .map(|container| container.name.as_str())
}

/// A pod from its document; `None` where the document is none of a pod.
pub fn pod_of_document(cluster: &str, document: &Value) -> Option<PodView> {
    let pod = Pod::deserialize(document).ok()?;
    Some(pod_view(cluster, &pod))
}

/// A pod without its processes, which only the runtime knows.
pub fn pod_view(cluster: &str, pod: &Pod) -> PodView {
    let containers = statuses(pod);
    let (ready, all) = ready(pod);
    let init = pod
        .status
        .iter()
        .flat_map(|status| status.init_container_statuses.iter().flatten());
    PodView {
        cluster: cluster.to_owned(),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        status: status_word(pod),
        address: address(pod),
        ready,
        containers: all,
        restarts: containers
            .iter()
            .copied()
            .chain(init)
            .map(|container| container.restart_count)
            .sum(),
        processes: Vec::new(),
    }
}

fn statuses(pod: &Pod) -> Vec<&ContainerStatus> {
    pod.status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .collect()
}

/// What keeps a pod from being ready, in a sentence.
fn waiting(pod: &Pod) -> Option<String> {
    if condition(pod, "Ready") {
        return None;
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let all = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    for container in all {
        let state = container.state.clone().unwrap_or_default();
        if let Some(waiting) = state.waiting.filter(|waiting| {
            !matches!(
                waiting.reason.as_deref(),
                Some("PodInitializing" | "ContainerCreating")
            )
        }) {
            let last = container
                .last_state
                .as_ref()
                .and_then(|last| last.terminated.as_ref());
            let ended = last.map(|last| {
                let message = last
                    .message
                    .as_ref()
                    .map(|message| format!(": {message}"))
                    .unwrap_or_default();
                format!(" (ended with {}{message})", last.exit_code)
            });
            let message = waiting
                .message
                .map(|message| format!(": {message}"))
                .unwrap_or_default();
            return Some(format!(
                "{name}: container {}: {}{message}{}",
                container.name,
                waiting.reason.unwrap_or_default(),
                ended.unwrap_or_default()
            ));
        }
    }
    if condition(pod, "ContainersReady") {
        return Some(format!("{name}: waits to be handed out by the registry"));
    }
    let unready = statuses(pod)
        .into_iter()
        .find(|container| !container.ready)?;
    Some(format!("{name}: container {} is not ready", unready.name))
}

/// Deployments and pods that nobody owns.
pub fn workloads(cluster: &Cluster) -> Vec<Workload> {
    cluster.objects.read(|objects| {
        let pods = objects.list::<Pod>();
        let mut workloads: Vec<Workload> = objects
            .list::<Deployment>()
            .iter()
            .map(|deployment| workload(cluster, objects, deployment, &pods))
            .collect();
        workloads.extend(
            pods.iter()
                .filter(|pod| owner(&pod.metadata).is_none())
                .map(|pod| {
                    let ready = condition(pod, "Ready");
                    let done = pod
                        .status
                        .as_ref()
                        .and_then(|status| status.phase.as_deref())
                        == Some("Succeeded");
                    Workload {
                        cluster: cluster.name.clone(),
                        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                        object: format!("pod/{}", pod.metadata.name.as_deref().unwrap_or_default()),
                        ready: u32::from(ready || done),
                        total: 1,
                        complete: ready || done,
                        waiting: if done { None } else { waiting(pod) },
                    }
                }),
        );
        workloads
    })
}

fn workload(
    cluster: &Cluster,
    objects: &Objects,
    deployment: &Deployment,
    pods: &[std::sync::Arc<Pod>],
) -> Workload {
    let status = deployment.status.clone().unwrap_or_default();
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let count = |value: Option<i32>| {
        value
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or(0)
    };
    let total = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .map_or(1, |replicas| u32::try_from(replicas).unwrap_or(0));
    let ready = count(status.ready_replicas);
    let current = status.observed_generation == deployment.metadata.generation;
    let complete = current
        && ready == total
        && count(status.updated_replicas) == total
        && count(status.replicas) == total;
    let sets: Vec<String> = objects
        .list::<k8s_openapi::api::apps::v1::ReplicaSet>()
        .iter()
        .filter(|set| owner(&set.metadata) == deployment.metadata.uid.as_deref())
        .filter_map(|set| set.metadata.uid.clone())
        .collect();
    let failure = status
        .conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "ReplicaFailure");
    let mut own = pods.iter().filter(|pod| {
        owner(&pod.metadata).is_some_and(|owner| sets.iter().any(|set| set == owner))
    });
    Workload {
        cluster: cluster.name.clone(),
        namespace,
        object: format!(
            "deployment.apps/{}",
            deployment.metadata.name.as_deref().unwrap_or_default()
        ),
        ready: ready.min(total),
        total,
        complete,
        waiting: if complete {
            None
        } else {
            failure
                .and_then(|failure| failure.message)
                .or_else(|| own.find_map(|pod| waiting(pod)))
        },
    }
}

/// Mesh objects whose condition is false, with what it says.
pub fn mesh_problems(cluster: &Cluster) -> Vec<MeshProblem> {
    cluster.objects.read(|objects| {
        let members = objects.all().filter(|object| object.key.kind.mesh());
        let problems = members
            .filter(|object| object.text("/status/conditions/0/status") == Some("False"))
            .map(|object| MeshProblem {
                cluster: cluster.name.clone(),
                object: object.key.to_string(),
                namespace: object.key.namespace.clone(),
                message: object
                    .text("/status/conditions/0/message")
                    .unwrap_or("not active")
                    .to_owned(),
            });
        problems.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tombolo_kube::Codec;

    fn word(pod: serde_json::Value) -> String {
        status_word(&Codec::from_json(&pod).unwrap())
    }

    #[test]
    fn status_reads_as_kubectl_has_it() {
        assert_eq!(word(json!({"metadata": {}})), "Pending");
        let waiting = |reason: &str| json!({"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}});
        assert_eq!(
            word(
                json!({"metadata": {}, "status": {"containerStatuses": [waiting("CrashLoopBackOff")]}})
            ),
            "CrashLoopBackOff"
        );
        let running = |name: &str, ready: bool| json!({"name": name, "image": "", "imageID": "", "ready": ready, "started": true, "restartCount": 0, "state": {"running": {}}});
        let done = json!({"name": "init", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let native = json!({
            "metadata": {},
            "spec": {"initContainers": [{"name": "init"}, {"name": "proxy", "restartPolicy": "Always"}], "containers": [{"name": "a"}]},
            "status": {"phase": "Running", "initContainerStatuses": [done, running("proxy", true)], "containerStatuses": [running("a", true)]},
        });
        let native: Pod = Codec::from_json(&native).unwrap();
        assert_eq!(
            (ready(&native), status_word(&native).as_str()),
            ((2, 2), "Running")
        );
        let killed = json!({"metadata": {}, "status": {"initContainerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 137, "signal": 9}}}]}});
        assert_eq!(word(killed), "Init:Signal:9");
        let init = json!({"metadata": {}, "status": {"initContainerStatuses": [waiting("PodInitializing")], "containerStatuses": [waiting("PodInitializing")]}});
        assert_eq!(word(init), "Init:0/1");
        assert_eq!(
            word(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            "Terminating"
        );
        assert_eq!(
            word(json!({"metadata": {}, "status": {"phase": "Running"}})),
            "Running"
        );
    }
}
