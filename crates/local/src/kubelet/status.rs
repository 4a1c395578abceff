//! The state of a running pod, and the Kubernetes status that follows from it.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::PodExt;

use super::restart_policy::RestartPolicy;

/// State of a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    Waiting {
        /// Kubernetes' reason: `CrashLoopBackOff`.
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        since: Timestamp,
    },
    Terminated(Termination),
}

/// The end of a run of a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Termination {
    /// The exit code.
    pub(super) code: i32,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    /// The reason why the kubelet stopped it, if it did.
    pub(super) message: Option<String>,
}

/// The state of one container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ContainerRecord {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) phase: Phase,
    /// The end of the previous run.
    pub(super) last: Option<Termination>,
    /// Number of restarts.
    pub(super) restarts: i32,
    pub(super) ready: bool,
    /// Whether it has passed its startup probe.
    pub(super) started: bool,
    /// Whether it has ended for good.
    pub(super) done: bool,
    /// Whether it is a native sidecar: an init container that keeps running beside the others.
    pub(super) sidecar: bool,
}

impl ContainerRecord {
    /// A container that has not run.
    pub(super) fn new(container: &Container, init: bool) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            phase: Phase::Waiting {
                reason: if init {
                    "PodInitializing"
                } else {
                    "ContainerCreating"
                },
                message: None,
            },
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            done: false,
            sidecar: init && container.restart_policy.as_deref() == Some("Always"),
        }
    }

    fn succeeded(&self) -> bool {
        matches!(&self.phase, Phase::Terminated(end) if end.code == 0)
    }

    fn status(&self) -> ContainerStatus {
        ContainerStatus {
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: String::new(),
            ready: self.ready,
            restart_count: self.restarts,
            started: Some(self.started),
            state: Some(match &self.phase {
                Phase::Waiting { reason, message } => ContainerState {
                    waiting: Some(ContainerStateWaiting {
                        reason: Some((*reason).to_owned()),
                        message: message.clone(),
                    }),
                    ..ContainerState::default()
                },
                Phase::Running { since } => ContainerState {
                    running: Some(ContainerStateRunning {
                        started_at: Some(Time(*since)),
                    }),
                    ..ContainerState::default()
                },
                Phase::Terminated(end) => terminated(end),
            }),
            last_state: self.last.as_ref().map(terminated),
            ..ContainerStatus::default()
        }
    }
}

fn terminated(end: &Termination) -> ContainerState {
    let signal = (end.code > 128).then(|| end.code - 128);
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: end.code,
            signal,
            reason: Some(if end.code == 0 { "Completed" } else { "Error" }.to_owned()),
            message: end.message.clone(),
            started_at: Some(Time(end.started)),
            finished_at: Some(Time(end.finished)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

/// The state of one pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodRecord {
    /// Time at which the kubelet started its worker.
    pub(super) since: Timestamp,
    pub(super) address: Ipv4Addr,
    /// The address of the node.
    pub(super) node: Ipv4Addr,
    pub(super) init: Vec<ContainerRecord>,
    pub(super) main: Vec<ContainerRecord>,
}

impl PodRecord {
    pub(super) fn container(&mut self, index: ContainerIndex) -> &mut ContainerRecord {
        match index {
            ContainerIndex::Init(index) => &mut self.init[index],
            ContainerIndex::Main(index) => &mut self.main[index],
        }
    }

    fn initialized(&self) -> bool {
        self.init.iter().all(|container| {
            if container.sidecar {
                container.started
            } else {
                container.done && container.succeeded()
            }
        })
    }

    fn ready(&self) -> bool {
        self.initialized()
            && self.main.iter().all(|container| container.ready)
            && self
                .init
                .iter()
                .filter(|init| init.sidecar)
                .all(|init| init.ready)
    }

    fn phase(&self) -> &'static str {
        let failed_init = self
            .init
            .iter()
            .any(|container| container.done && !container.succeeded());
        if failed_init {
            return "Failed";
        }
        if !self.main.is_empty() && self.main.iter().all(|container| container.done) {
            return if self.main.iter().all(ContainerRecord::succeeded) {
                "Succeeded"
            } else {
                "Failed"
            };
        }
        let ever_ran = |container: &ContainerRecord| {
            container.last.is_some() || !matches!(container.phase, Phase::Waiting { .. })
        };
        if self.initialized() && self.main.iter().all(ever_ran) {
            "Running"
        } else {
            "Pending"
        }
    }

    /// Writes the status of the pod. Conditions of other writers (readiness gates) stay.
    pub(super) fn publish(&self, pod: &mut Pod, now: Timestamp) {
        let ready = self.ready();
        let gates_open = pod.readiness_gates().all(|gate| pod.has_condition(gate));
        let status = pod.status.get_or_insert_default();
        let mut conditions = status.conditions.take().unwrap_or_default();
        let not_ready = match ready {
            true => "ReadinessGatesNotReady",
            false => "ContainersNotReady",
        };
        for (kind, holds, reason) in [
            ("PodScheduled", true, ""),
            ("PodReadyToStartContainers", true, ""),
            (
                "Initialized",
                self.initialized(),
                "ContainersNotInitialized",
            ),
            ("ContainersReady", ready, "ContainersNotReady"),
            ("Ready", ready && gates_open, not_ready),
        ] {
            set_condition(&mut conditions, kind, holds, Some(reason), now);
        }
        let statuses = |records: &[ContainerRecord]| {
            let statuses: Vec<_> = records.iter().map(ContainerRecord::status).collect();
            Some(statuses).filter(|statuses| !statuses.is_empty())
        };
        let (ip, node) = (self.address.to_string(), self.node.to_string());
        *status = PodStatus {
            phase: Some(self.phase().to_owned()),
            start_time: Some(Time(self.since)),
            host_ip: Some(node.clone()),
            host_ips: Some(vec![HostIP { ip: node }]),
            pod_ip: Some(ip.clone()),
            pod_ips: Some(vec![PodIP { ip }]),
            qos_class: Some("BestEffort".to_owned()),
            conditions: Some(conditions),
            init_container_statuses: statuses(&self.init),
            container_statuses: statuses(&self.main),
            ..PodStatus::default()
        };
    }
}

/// Sets the condition of a readiness gate to `True`, and `Ready` if that was the last one missing.
pub(crate) fn set_readiness_gate(pod: &mut Pod, gate: &str, now: Timestamp) {
    let set = |pod: &mut Pod, kind: &str| {
        let status = pod.status.get_or_insert_default();
        let conditions = status.conditions.get_or_insert_default();
        set_condition(conditions, kind, true, None, now);
    };
    set(pod, gate);
    let is_ready = pod.has_condition("ContainersReady")
        && pod.readiness_gates().all(|gate| pod.has_condition(gate));
    if is_ready {
        set(pod, "Ready");
    }
}

/// Sets a condition, with a reason where its status is `False`. The transition time changes with the status.
fn set_condition(
    conditions: &mut Vec<PodCondition>,
    kind: &str,
    holds: bool,
    reason: Option<&str>,
    now: Timestamp,
) {
    let index = conditions
        .iter()
        .position(|condition| condition.type_ == kind);
    let index = index.unwrap_or_else(|| {
        conditions.push(PodCondition {
            type_: kind.to_owned(),
            ..PodCondition::default()
        });
        conditions.len() - 1
    });
    let condition = &mut conditions[index];
    let status = if holds { "True" } else { "False" };
    if condition.status != status {
        condition.status = status.to_owned();
        condition.last_transition_time = Some(Time(now));
    }
    condition.reason = reason.filter(|_| !holds).map(str::to_owned);
}

/// The index of a container in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContainerIndex {
    /// Among the init containers.
    Init(usize),
    /// Among the containers.
    Main(usize),
}

/// Whether a container restarts after it ended with `code`.
pub(super) fn restarts(
    policy: RestartPolicy,
    index: ContainerIndex,
    record: &ContainerRecord,
    code: i32,
) -> bool {
    match index {
        ContainerIndex::Main(_) => policy.restarts(code == 0),
        ContainerIndex::Init(_) if record.sidecar => true,
        ContainerIndex::Init(_) => code != 0 && policy != RestartPolicy::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tombolo_kube::Codec;

    fn record(init: usize, main: usize) -> PodRecord {
        let container: Container = Codec::from_json(&json!({"name": "c"})).unwrap();
        PodRecord {
            since: Timestamp::UNIX_EPOCH,
            address: Ipv4Addr::LOCALHOST,
            node: Ipv4Addr::LOCALHOST,
            init: vec![ContainerRecord::new(&container, true); init],
            main: vec![ContainerRecord::new(&container, false); main],
        }
    }

    fn ended(code: i32) -> Phase {
        Phase::Terminated(Termination {
            code,
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            message: None,
        })
    }

    #[test]
    fn pod_is_pending_until_every_container_ran() {
        let mut record = record(1, 2);
        assert_eq!(record.phase(), "Pending");
        record.init[0] = ContainerRecord {
            phase: ended(0),
            done: true,
            ..record.init[0].clone()
        };
        record.main[0].phase = Phase::Running {
            since: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(record.phase(), "Pending");
        record.main[1].phase = Phase::Running {
            since: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(record.phase(), "Running");
    }

    #[test]
    fn readiness_gate_holds_back_ready_but_not_containers_ready() {
        let mut record = record(0, 1);
        record.main[0].ready = true;
        let spec = json!({"containers": [], "readinessGates": [{"conditionType": "gate"}]});
        let pod = json!({"metadata": {}, "spec": spec});
        let mut pod: Pod = Codec::from_json(&pod).unwrap();
        record.publish(&mut pod, Timestamp::UNIX_EPOCH);
        assert!(pod.has_condition("ContainersReady") && !pod.has_condition("Ready"));
        set_readiness_gate(&mut pod, "gate", Timestamp::UNIX_EPOCH);
        assert!(pod.has_condition("Ready"));
        record.publish(&mut pod, Timestamp::UNIX_EPOCH);
        assert!(pod.has_condition("Ready") && pod.has_condition("gate"));
    }

    #[test]
    fn finished_pods_succeed_or_fail_by_their_exit_codes() {
        let mut record = record(0, 2);
        for container in &mut record.main {
            container.done = true;
            container.phase = ended(0);
        }
        assert_eq!(record.phase(), "Succeeded");
        record.main[1].phase = ended(2);
        assert_eq!(record.phase(), "Failed");
    }
}
