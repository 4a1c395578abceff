//! Deployments into ReplicaSets, ReplicaSets into pods. Level-triggered: each pass looks at all there is and
//! takes the next step, so a lost wake-up costs time and never correctness.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetCondition,
    ReplicaSetSpec, ReplicaSetStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, ObjectMeta, OwnerReference, Time,
};
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::Codec as _;

use super::endpoint::{condition, serves};
use super::name::{Entropy, template_hash};
use super::object::{Key, Objects};
use super::rollout::{self, Policy, Revision};
use super::{Kind, pods};

/// The label that ties a pod to its revision.
const HASH: &str = "pod-template-hash";

/// The annotation that counts revisions.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Old ReplicaSets kept where a Deployment does not say.
const HISTORY: usize = 10;

/// Turns a pod as its owner wrote it into the pod that runs: the injector. An error denies the pod.
pub type Inject = dyn Fn(&Objects, Pod) -> Result<Pod, String> + Send + Sync;

/// The moment of a pass: time, names, and the injector.
pub struct Moment<'a> {
    /// The time that new objects carry.
    pub now: Timestamp,
    /// Where names come from.
    pub entropy: &'a Entropy,
    /// What happens to each new pod.
    pub inject: &'a Inject,
}

/// One pass over every Deployment and ReplicaSet.
pub fn reconcile(objects: &mut Objects, moment: &Moment<'_>) {
    for deployment in objects.list::<Deployment>() {
        if deployment.metadata.deletion_timestamp.is_none() {
            roll(objects, moment, &deployment);
        }
    }
    let pods = by_owner(objects);
    for set in objects.list::<ReplicaSet>() {
        let own = set
            .metadata
            .uid
            .as_ref()
            .and_then(|uid| pods.get(uid))
            .map_or(&[][..], Vec::as_slice);
        fill(objects, moment, &set, own);
    }
}

/// Every pod by the uid of the object that owns it.
fn by_owner(objects: &Objects) -> BTreeMap<String, Vec<Arc<Pod>>> {
    let mut owned: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in objects.list::<Pod>() {
        if let Some(owner) = owner(&pod.metadata) {
            owned.entry(owner.to_owned()).or_default().push(pod);
        }
    }
    owned
}

/// The uid of the controlling owner.
pub fn owner(meta: &ObjectMeta) -> Option<&str> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
}

fn owned_by(api_version: &str, kind: &str, meta: &ObjectMeta) -> Vec<OwnerReference> {
    vec![OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }]
}

fn roll(objects: &mut Objects, moment: &Moment<'_>, deployment: &Deployment) {
    let (Some(spec), Some(uid)) = (&deployment.spec, &deployment.metadata.uid) else {
        return;
    };
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let base = deployment.metadata.name.clone().unwrap_or_default();
    let newest_name = format!("{base}-{}", template_hash(&spec.template));
    let mut sets: Vec<Arc<ReplicaSet>> = objects
        .list::<ReplicaSet>()
        .into_iter()
        .filter(|set| owner(&set.metadata) == Some(uid))
        .collect();
    sets.sort_by_key(|set| revision_number(&set.metadata));
    let latest = sets.last().map_or(0, |set| revision_number(&set.metadata));
    match sets
        .iter()
        .find(|set| set.metadata.name.as_deref() == Some(&newest_name))
    {
        None => {
            create_set(objects, moment, deployment, &newest_name, latest + 1);
        }
        // A roll back: an older revision is the newest again.
        Some(set) if revision_number(&set.metadata) < latest => {
            objects.edit::<ReplicaSet>(&namespace, &newest_name, |set| {
                number(&mut set.metadata, latest + 1)
            });
        }
        Some(_) => {}
    }
    let pods = by_owner(objects);
    let view = |set: &ReplicaSet| {
        let own = set
            .metadata
            .uid
            .as_ref()
            .and_then(|uid| pods.get(uid))
            .map_or(&[][..], Vec::as_slice);
        Revision {
            name: set.metadata.name.clone().unwrap_or_default(),
            wanted: wanted(set),
            available: count(own, serves),
            present: count(own, |_| true),
        }
    };
    let Some(newest) = objects.get::<ReplicaSet>(&namespace, &newest_name) else {
        return;
    };
    let newest = view(&newest);
    let older: Vec<Revision> = sets
        .iter()
        .filter(|set| set.metadata.name.as_deref() != Some(&newest_name))
        .map(|set| view(set))
        .collect();
    let policy = Policy::of(spec);
    if spec.paused != Some(true) {
        for (name, replicas) in rollout::step(&policy, &newest, &older) {
            objects.edit::<ReplicaSet>(&namespace, &name, |set| {
                set.spec.get_or_insert_default().replicas = i32::try_from(replicas).ok();
            });
        }
    }
    prune(objects, &namespace, spec.revision_history_limit, &older);
    let failure = sets.iter().find_map(|set| failure(set));
    let revision = objects
        .get::<ReplicaSet>(&namespace, &newest_name)
        .map_or(1, |set| revision_number(&set.metadata));
    objects.edit::<Deployment>(&namespace, &base, |deployment| {
        number(&mut deployment.metadata, revision);
        publish(deployment, &policy, &newest, &older, failure, moment.now);
    });
}

fn create_set(
    objects: &mut Objects,
    moment: &Moment<'_>,
    deployment: &Deployment,
    name: &str,
    revision: u64,
) {
    let Some(spec) = &deployment.spec else { return };
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let hash = template_hash(&spec.template);
    let mut template = spec.template.clone();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector: LabelSelector = spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH.to_owned(), hash);
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            labels: Some(labels),
            owner_references: Some(owned_by("apps/v1", "Deployment", &deployment.metadata)),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            selector,
            template: Some(template),
            min_ready_seconds: spec.min_ready_seconds,
        }),
        status: None,
    };
    number(&mut set.metadata, revision);
    objects.create(
        Key::new(Kind::ReplicaSet, &namespace, name),
        set.to_json(),
        moment.now,
        moment.entropy,
    );
}

fn number(meta: &mut ObjectMeta, revision: u64) {
    meta.annotations
        .get_or_insert_default()
        .insert(REVISION.to_owned(), revision.to_string());
}

fn revision_number(meta: &ObjectMeta) -> u64 {
    let text = meta
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn wanted(set: &ReplicaSet) -> u32 {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
    replicas.map_or(1, |count| u32::try_from(count).unwrap_or(0))
}

fn count(pods: &[Arc<Pod>], matches: impl Fn(&Pod) -> bool) -> u32 {
    u32::try_from(pods.iter().filter(|pod| matches(pod)).count()).unwrap_or(u32::MAX)
}

fn prune(objects: &mut Objects, namespace: &str, limit: Option<i32>, older: &[Revision]) {
    let limit = limit.map_or(HISTORY, |limit| usize::try_from(limit).unwrap_or(0));
    let idle: Vec<_> = older
        .iter()
        .filter(|old| old.wanted == 0 && old.present == 0)
        .collect();
    for old in &idle[..idle.len().saturating_sub(limit)] {
        objects.remove(&Key::new(Kind::ReplicaSet, namespace, &old.name));
    }
}

fn failure(set: &ReplicaSet) -> Option<String> {
    let conditions = set.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure")?
        .message
        .clone()
}

fn publish(
    deployment: &mut Deployment,
    policy: &Policy,
    newest: &Revision,
    older: &[Revision],
    failure: Option<String>,
    now: Timestamp,
) {
    let generation = deployment.metadata.generation;
    let available = newest.available + older.iter().map(|old| old.available).sum::<u32>();
    let total = newest.present.min(newest.wanted)
        + older
            .iter()
            .map(|old| old.present.min(old.wanted))
            .sum::<u32>();
    let done = newest.available >= policy.replicas && older.iter().all(|old| old.wanted == 0);
    let whole = |count: u32| i32::try_from(count).ok();
    let old_conditions = deployment
        .status
        .take()
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let condition = |kind: &str, status: bool, reason: &str, message: Option<String>| {
        let status = if status { "True" } else { "False" };
        let same = old_conditions
            .iter()
            .find(|old| old.type_ == kind && old.status == status);
        DeploymentCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            last_transition_time: same
                .and_then(|old| old.last_transition_time.clone())
                .or(Some(Time(now))),
            last_update_time: None,
            message,
        }
    };
    let enough = available + policy.max_unavailable >= policy.replicas;
    let mut conditions = vec![
        condition(
            "Available",
            enough,
            if enough {
                "MinimumReplicasAvailable"
            } else {
                "MinimumReplicasUnavailable"
            },
            None,
        ),
        condition(
            "Progressing",
            true,
            if done {
                "NewReplicaSetAvailable"
            } else {
                "ReplicaSetUpdated"
            },
            None,
        ),
    ];
    if failure.is_some() {
        conditions.push(condition("ReplicaFailure", true, "FailedCreate", failure));
    }
    deployment.status = Some(DeploymentStatus {
        observed_generation: generation,
        replicas: whole(total),
        updated_replicas: whole(newest.present.min(newest.wanted)),
        ready_replicas: whole(available),
        available_replicas: whole(available),
        unavailable_replicas: whole(policy.replicas.saturating_sub(available)),
        conditions: Some(conditions),
        ..DeploymentStatus::default()
    });
}

/// Creates the pods that a ReplicaSet lacks and deletes those it has too many.
fn fill(objects: &mut Objects, moment: &Moment<'_>, set: &ReplicaSet, own: &[Arc<Pod>]) {
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let name = set.metadata.name.clone().unwrap_or_default();
    let mut active: Vec<&Arc<Pod>> = own.iter().filter(|pod| pods::active(pod)).collect();
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    let mut failure = None;
    for _ in active.len()..wanted {
        if let Err(message) = create_pod(objects, moment, set) {
            failure = Some(message);
            break;
        }
    }
    if active.len() > wanted {
        active.sort_by_key(|pod| std::cmp::Reverse(rank(pod)));
        for pod in &active[wanted..] {
            if let Some(name) = &pod.metadata.name {
                pods::delete(objects, &namespace, name, None, moment.now);
            }
        }
    }
    let generation = set.metadata.generation;
    objects.edit::<ReplicaSet>(&namespace, &name, |set| {
        let ready = i32::try_from(active.iter().filter(|pod| serves(pod)).count()).ok();
        let since = set.status.as_ref().and_then(|status| {
            status
                .conditions
                .as_ref()?
                .first()?
                .last_transition_time
                .clone()
        });
        let condition = failure.map(|message| ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some("FailedCreate".into()),
            last_transition_time: since.or(Some(Time(moment.now))),
            message: Some(message),
        });
        set.status = Some(ReplicaSetStatus {
            replicas: i32::try_from(active.len().min(wanted)).unwrap_or(i32::MAX),
            ready_replicas: ready,
            available_replicas: ready,
            fully_labeled_replicas: i32::try_from(active.len().min(wanted)).ok(),
            observed_generation: generation,
            conditions: condition.map(|condition| vec![condition]),
            ..ReplicaSetStatus::default()
        });
    });
}

/// Which pods stay when there are too many: those that started, that are ready, that failed least, that are
/// oldest. Kubernetes' order.
fn rank(
    pod: &Pod,
) -> (
    bool,
    bool,
    std::cmp::Reverse<i32>,
    std::cmp::Reverse<Option<Timestamp>>,
) {
    let status = pod.status.as_ref();
    let running = status.and_then(|status| status.phase.as_deref()) == Some("Running");
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let restarts = containers
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .max()
        .unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        running,
        condition(pod, "Ready"),
        std::cmp::Reverse(restarts),
        std::cmp::Reverse(created),
    )
}

fn create_pod(objects: &mut Objects, moment: &Moment<'_>, set: &ReplicaSet) -> Result<(), String> {
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let base = set.metadata.name.clone().unwrap_or_default();
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .unwrap_or_default();
    let mut metadata = template.metadata.unwrap_or_default();
    let name = loop {
        let name = format!("{base}-{}", moment.entropy.suffix());
        if objects
            .object(&Key::new(Kind::Pod, &namespace, &name))
            .is_none()
        {
            break name;
        }
    };
    metadata.name = Some(name);
    metadata.generate_name = Some(format!("{base}-"));
    metadata.namespace = Some(namespace);
    metadata.owner_references = Some(owned_by("apps/v1", "ReplicaSet", &set.metadata));
    pods::create(
        objects,
        moment,
        Pod {
            metadata,
            spec: template.spec,
            status: None,
        },
    )
}
