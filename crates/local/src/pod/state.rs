//! What is known about a running pod, and how that reads as a Kubernetes status.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::restart::Policy;

/// A container at one moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Not running; why.
    Waiting {
        /// A word, as Kubernetes has it (`CrashLoopBackOff`).
        reason: &'static str,
        /// The details.
        message: Option<String>,
    },
    /// Running since.
    Running {
        /// When it started.
        since: Timestamp,
    },
    /// Ended.
    Ended(End),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Its exit code.
    pub code: i32,
    /// When it had started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Why we ended it, if we did.
    pub message: Option<String>,
}

/// All that is known of one container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRecord {
    /// Its name.
    pub name: String,
    /// Its image, as written.
    pub image: String,
    /// What it does now.
    pub phase: Phase,
    /// How it ended last.
    pub last: Option<End>,
    /// How often it was started again.
    pub restarts: i32,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Whether it has passed its start-up probe.
    pub started: bool,
    /// Its process, in the runtime's pid namespace.
    pub process: Option<u32>,
    /// Whether it has done its part and will not run again.
    pub done: bool,
    /// Whether it is an init container that keeps running beside the others.
    pub sidecar: bool,
}

impl ContainerRecord {
    /// A container that has not run.
    pub fn new(container: &Container, init: bool) -> Self {
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
            process: None,
            done: false,
            sidecar: init && container.restart_policy.as_deref() == Some("Always"),
        }
    }

    fn succeeded(&self) -> bool {
        matches!(&self.phase, Phase::Ended(end) if end.code == 0)
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
                Phase::Ended(end) => terminated(end),
            }),
            last_state: self.last.as_ref().map(terminated),
            ..ContainerStatus::default()
        }
    }
}

fn terminated(end: &End) -> ContainerState {
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

/// All that is known of one pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodRecord {
    /// When the runtime took it up.
    pub since: Timestamp,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// The address of its node.
    pub node: Ipv4Addr,
    /// Init containers, in order.
    pub init: Vec<ContainerRecord>,
    /// Containers, in order.
    pub main: Vec<ContainerRecord>,
    /// Why the pod cannot run at all, if it cannot.
    pub broken: Option<String>,
}

impl PodRecord {
    /// A container by its place in the two lists.
    pub fn container(&mut self, slot: Slot) -> &mut ContainerRecord {
        match slot {
            Slot::Init(index) => &mut self.init[index],
            Slot::Main(index) => &mut self.main[index],
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
        if self.broken.is_some() || failed_init {
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

    /// Writes the record into the pod's status. Conditions of others (readiness gates) stay.
    pub fn publish(&self, pod: &mut Pod, now: Timestamp) {
        let gates: Vec<String> = pod
            .spec
            .iter()
            .flat_map(|spec| spec.readiness_gates.iter().flatten())
            .map(|gate| gate.condition_type.clone())
            .collect();
        let status = pod.status.get_or_insert_default();
        let old = status.conditions.take().unwrap_or_default();
        let gates_open = gates.iter().all(|gate| {
            old.iter()
                .any(|condition| condition.type_ == *gate && condition.status == "True")
        });
        let ready = self.ready();
        let own = [
            ("PodScheduled", true, None),
            ("PodReadyToStartContainers", self.address.is_some(), None),
            (
                "Initialized",
                self.initialized(),
                Some("ContainersNotInitialized"),
            ),
            ("ContainersReady", ready, Some("ContainersNotReady")),
            (
                "Ready",
                ready && gates_open,
                Some(if ready {
                    "ReadinessGatesNotReady"
                } else {
                    "ContainersNotReady"
                }),
            ),
        ];
        let mut conditions: Vec<PodCondition> = own
            .iter()
            .map(|(kind, holds, reason)| {
                let word = if *holds { "True" } else { "False" };
                let same = old
                    .iter()
                    .find(|condition| condition.type_ == *kind && condition.status == word);
                PodCondition {
                    type_: (*kind).to_owned(),
                    status: word.to_owned(),
                    reason: reason.filter(|_| !holds).map(str::to_owned),
                    last_transition_time: same
                        .and_then(|same| same.last_transition_time.clone())
                        .or(Some(Time(now))),
                    ..PodCondition::default()
                }
            })
            .collect();
        conditions.extend(
            old.into_iter()
                .filter(|condition| own.iter().all(|(kind, ..)| condition.type_ != *kind)),
        );
        let address = self.address.map(|address| address.to_string());
        *status = PodStatus {
            phase: Some(self.phase().to_owned()),
            reason: self.broken.as_ref().map(|_| "CannotRun".to_owned()),
            message: self.broken.clone(),
            start_time: Some(Time(self.since)),
            host_ip: Some(self.node.to_string()),
            host_ips: Some(vec![HostIP {
                ip: self.node.to_string(),
            }]),
            pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
            pod_ip: address,
            qos_class: Some("BestEffort".to_owned()),
            conditions: Some(conditions),
            init_container_statuses: (!self.init.is_empty())
                .then(|| self.init.iter().map(ContainerRecord::status).collect()),
            container_statuses: Some(self.main.iter().map(ContainerRecord::status).collect()),
            ..PodStatus::default()
        };
    }
}

/// Sets a condition that others are responsible for (a readiness gate) and draws the conclusion for `Ready`.
pub fn open_gate(pod: &mut Pod, gate: &str, now: Timestamp) {
    let gates: Vec<String> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.readiness_gates.iter().flatten())
        .map(|gate| gate.condition_type.clone())
        .collect();
    let conditions = pod
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    set(conditions, gate, true, now);
    let holds = |conditions: &[PodCondition], kind: &str| {
        conditions
            .iter()
            .any(|condition| condition.type_ == kind && condition.status == "True")
    };
    if holds(conditions, "ContainersReady") && gates.iter().all(|gate| holds(conditions, gate)) {
        set(conditions, "Ready", true, now);
    }
}

fn set(conditions: &mut Vec<PodCondition>, kind: &str, holds: bool, now: Timestamp) {
    let word = if holds { "True" } else { "False" };
    if conditions
        .iter()
        .any(|condition| condition.type_ == kind && condition.status == word)
    {
        return;
    }
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(PodCondition {
        type_: kind.to_owned(),
        status: word.to_owned(),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
}

/// The place of a container in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Among the init containers.
    Init(usize),
    /// Among the containers.
    Main(usize),
}

/// Whether a container runs again after it ended with `code`.
pub fn restarts(policy: Policy, slot: Slot, record: &ContainerRecord, code: i32) -> bool {
    match slot {
        Slot::Main(_) => policy.restarts(code == 0),
        Slot::Init(_) if record.sidecar => true,
        Slot::Init(_) => code != 0 && policy != Policy::Never,
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
            address: None,
            node: Ipv4Addr::LOCALHOST,
            init: vec![ContainerRecord::new(&container, true); init],
            main: vec![ContainerRecord::new(&container, false); main],
            broken: None,
        }
    }

    fn ended(code: i32) -> Phase {
        Phase::Ended(End {
            code,
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            message: None,
        })
    }

    fn published(record: &PodRecord, pod: &mut Pod) -> (String, Vec<(String, String)>) {
        record.publish(pod, Timestamp::UNIX_EPOCH);
        let status = pod.status.clone().unwrap();
        let conditions = status
            .conditions
            .unwrap()
            .into_iter()
            .map(|condition| (condition.type_, condition.status))
            .collect();
        (status.phase.unwrap(), conditions)
    }

    fn is(conditions: &[(String, String)], kind: &str) -> bool {
        conditions
            .iter()
            .any(|(name, status)| name == kind && status == "True")
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
        let mut pod: Pod = Codec::from_json(&json!({"metadata": {}, "spec": {"containers": [], "readinessGates": [{"conditionType": "gate"}]}})).unwrap();
        let (_, conditions) = published(&record, &mut pod);
        assert!(is(&conditions, "ContainersReady") && !is(&conditions, "Ready"));
        open_gate(&mut pod, "gate", Timestamp::UNIX_EPOCH);
        assert!(crate::cluster::endpoint::condition(&pod, "Ready"));
        let (_, conditions) = published(&record, &mut pod);
        assert!(is(&conditions, "Ready") && is(&conditions, "gate"));
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
