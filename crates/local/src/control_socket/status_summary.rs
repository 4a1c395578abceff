//! Pods, workloads and mesh objects summarized for `status`, in the words of kubectl.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;
use tombolo_kube::{Codec, ObjectExt, PodExt, PodSpecExt};

use super::types::{MeshProblem, PodView, Workload};
use crate::cluster::{Cluster, Objects, deployment};

/// The STATUS column of `kubectl get pods`.
fn status_word(pod: &Pod) -> String {
    if pod.is_terminating() {
        return "Terminating".to_owned();
    }
    for (index, container) in pod.init_statuses().iter().enumerate() {
        // A running native sidecar counts as completed, as in kubectl's printer.
        if sidecars(pod).any(|name| name == container.name) && container.started == Some(true) {
            continue;
        }
        let state = container.state.clone().unwrap_or_default();
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
            _ => return format!("Init:{index}/{}", pod.init_statuses().len()),
        }
    }
    let reasons = pod
        .container_statuses()
        .iter()
        .rev()
        .filter_map(|container| {
            let state = container.state.clone()?;
            let waiting = state.waiting.and_then(|waiting| waiting.reason);
            waiting.or_else(|| state.terminated?.reason)
        });
    let phase = Some(pod.phase()).filter(|phase| !phase.is_empty());
    let phase = phase.unwrap_or("Pending");
    reasons
        .into_iter()
        .next()
        .unwrap_or_else(|| phase.to_owned())
}

/// The number of ready containers that keep running, and the number of all of them; native sidecars count.
fn ready(pod: &Pod) -> (usize, usize) {
    let containers = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let is_sidecar = |status: &&ContainerStatus| sidecars(pod).any(|name| name == status.name);
    let init = pod.init_statuses().iter().filter(is_sidecar);
    let statuses = pod.container_statuses().iter().chain(init);
    let ready = statuses.filter(|status| status.ready).count();
    (ready, containers + sidecars(pod).count())
}

/// Names of native sidecars: init containers that keep running beside the others.
fn sidecars(pod: &Pod) -> impl Iterator<Item = &str> {
    let init = pod.spec.iter().flat_map(PodSpecExt::init_containers);
    init.filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .map(|container| container.name.as_str())
}

/// A pod without its process ids, which only the runtime knows.
pub(crate) fn pod_view(cluster: &str, pod: &Pod) -> PodView {
    let (ready, containers) = ready(pod);
    let statuses = pod.container_statuses().iter().chain(pod.init_statuses());
    PodView {
        cluster: cluster.to_owned(),
        namespace: pod.namespace().to_owned(),
        name: pod.name().to_owned(),
        status: status_word(pod),
        address: pod.ipv4(),
        ready,
        containers,
        restarts: statuses.map(|status| status.restart_count).sum(),
        processes: Vec::new(),
    }
}

/// A pod from its document; `None` where the document is not a pod.
pub fn pod_of_document(cluster: &str, document: &Value) -> Option<PodView> {
    let pod = Pod::from_json(document).ok()?;
    Some(pod_view(cluster, &pod))
}

/// The reason why a pod is not ready, in a sentence.
fn waiting(pod: &Pod) -> Option<String> {
    if pod.has_condition("Ready") {
        return None;
    }
    let name = pod.name();
    let prefixed = |text: Option<&String>| text.map(|text| format!(": {text}")).unwrap_or_default();
    for container in pod.init_statuses().iter().chain(pod.container_statuses()) {
        let waiting = container
            .state
            .as_ref()
            .and_then(|state| state.waiting.as_ref());
        let Some(waiting) = waiting else { continue };
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if matches!(reason, "PodInitializing" | "ContainerCreating") {
            continue;
        }
        let last = container.last_state.as_ref();
        let ended = last.and_then(|last| last.terminated.as_ref()).map(|last| {
            let message = prefixed(last.message.as_ref());
            format!(" (ended with {}{message})", last.exit_code)
        });
        return Some(format!(
            "{name}: container {}: {reason}{}{}",
            container.name,
            prefixed(waiting.message.as_ref()),
            ended.unwrap_or_default()
        ));
    }
    if pod.has_condition("ContainersReady") {
        return Some(format!("{name}: waits to be handed out by the registry"));
    }
    let mut statuses = pod.container_statuses().iter();
    let unready = statuses.find(|container| !container.ready)?;
    Some(format!("{name}: container {} is not ready", unready.name))
}

/// Deployments, and pods without an owner.
pub(crate) fn workloads(cluster: &Cluster) -> Vec<Workload> {
    cluster.objects.read(|objects| {
        let deployments = objects.list::<Deployment>();
        let deployments = deployments
            .iter()
            .map(|deployment| of_deployment(cluster, objects, deployment));
        let pods = objects.list::<Pod>();
        let bare = pods.iter().filter(|pod| pod.controller_uid().is_none());
        deployments
            .chain(bare.map(|pod| of_pod(cluster, pod)))
            .collect()
    })
}

fn of_pod(cluster: &Cluster, pod: &Pod) -> Workload {
    let succeeded = pod.phase() == "Succeeded";
    let complete = pod.has_condition("Ready") || succeeded;
    Workload {
        cluster: cluster.name.clone(),
        namespace: pod.namespace().to_owned(),
        object: format!("pod/{}", pod.name()),
        ready: u32::from(complete),
        total: 1,
        complete,
        waiting: if succeeded { None } else { waiting(pod) },
    }
}

fn of_deployment(cluster: &Cluster, objects: &Objects, deployment: &Deployment) -> Workload {
    let status = deployment.status.clone().unwrap_or_default();
    let count = |value: Option<i32>, default| {
        value.map_or(default, |value| u32::try_from(value).unwrap_or(0))
    };
    let total = count(deployment.spec.as_ref().and_then(|spec| spec.replicas), 1);
    let ready = count(status.ready_replicas, 0);
    let counts = [
        ready,
        count(status.updated_replicas, 0),
        count(status.replicas, 0),
    ];
    let complete =
        status.observed_generation == deployment.metadata.generation && counts == [total; 3];
    let reason = || {
        let failure = deployment::failure(deployment).map(str::to_owned);
        let pods = deployment::pods(objects, deployment);
        failure.or_else(|| pods.iter().find_map(|pod| waiting(pod)))
    };
    Workload {
        cluster: cluster.name.clone(),
        namespace: deployment.namespace().to_owned(),
        object: format!("deployment.apps/{}", deployment.name()),
        ready: ready.min(total),
        total,
        complete,
        waiting: if complete { None } else { reason() },
    }
}

/// Mesh objects whose condition is false, with its message.
pub(crate) fn mesh_problems(cluster: &Cluster) -> Vec<MeshProblem> {
    cluster.objects.read(|objects| {
        let members = objects.all().filter(|object| object.key.kind.mesh());
        let problems =
            members.filter(|object| object.text("/status/conditions/0/status") == Some("False"));
        let problems = problems.map(|object| MeshProblem {
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
