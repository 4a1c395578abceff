//! ReplicaSets: pods are created and deleted until the requested number exists.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::{ObjectExt, PodExt};

use super::object_store::{Key, Objects};
use super::pods::{self, CreateError};
use super::{Kind, ReconcileContext};

/// Creates missing pods of ReplicaSets, deletes surplus ones, and writes the status of the ReplicaSets.
pub(super) fn reconcile(objects: &mut Objects, context: &ReconcileContext<'_>) {
    let pods = pods_by_owner(objects);
    for set in objects.list::<ReplicaSet>() {
        let own = pods.get(set.uid()).map_or(&[][..], Vec::as_slice);
        scale(objects, context, &set, own);
    }
}

/// Every pod by the uid of the object that controls it.
pub(super) fn pods_by_owner(objects: &Objects) -> BTreeMap<String, Vec<Arc<Pod>>> {
    let mut owned: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in objects.list::<Pod>() {
        if let Some(owner) = pod.controller_uid() {
            owned.entry(owner.to_owned()).or_default().push(pod);
        }
    }
    owned
}

/// The owner reference to a controlling object of the group `apps`.
pub(super) fn controlled_by(kind: &str, owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// `spec.replicas`; 1 where absent.
pub(super) fn replicas(set: &ReplicaSet) -> u32 {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
    replicas.map_or(1, |count| u32::try_from(count).unwrap_or(0))
}

/// The reason why pods cannot be created: the message of the condition `ReplicaFailure`.
pub(super) fn failure(set: &ReplicaSet) -> Option<String> {
    let conditions = set.status.as_ref()?.conditions.as_ref()?;
    let mut conditions = conditions.iter();
    let failure = conditions.find(|condition| condition.type_ == "ReplicaFailure")?;
    failure.message.clone()
}

fn scale(
    objects: &mut Objects,
    context: &ReconcileContext<'_>,
    set: &ReplicaSet,
    own: &[Arc<Pod>],
) {
    let mut active: Vec<&Arc<Pod>> = own.iter().filter(|pod| pod.is_active()).collect();
    let wanted = usize::try_from(replicas(set)).unwrap_or(usize::MAX);
    let missing = active.len()..wanted;
    let failure = missing
        .into_iter()
        .find_map(|_| create_pod(objects, context, set).err());
    if active.len() > wanted {
        active.sort_by_key(|pod| Reverse(rank(pod)));
        for pod in &active[wanted..] {
            pods::delete(objects, set.namespace(), pod.name(), None, context.now);
        }
    }
    objects.edit::<ReplicaSet>(set.namespace(), set.name(), |set| {
        let existing = i32::try_from(active.len().min(wanted)).unwrap_or(i32::MAX);
        let ready = i32::try_from(active.iter().filter(|pod| pod.is_serving()).count()).ok();
        let since = set.status.as_ref().and_then(|status| {
            let condition = status.conditions.as_ref()?.first()?;
            condition.last_transition_time.clone()
        });
        let condition = failure.map(|error| ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some("FailedCreate".into()),
            last_transition_time: since.or(Some(Time(context.now))),
            message: Some(error.to_string()),
        });
        set.status = Some(ReplicaSetStatus {
            replicas: existing,
            ready_replicas: ready,
            available_replicas: ready,
            fully_labeled_replicas: Some(existing),
            observed_generation: set.metadata.generation,
            conditions: condition.map(|condition| vec![condition]),
            ..ReplicaSetStatus::default()
        });
    });
}

/// The order in which pods are kept when there are too many, as in Kubernetes: running before pending, ready before
/// unready, fewer restarts before more, older before newer.
fn rank(pod: &Pod) -> (bool, bool, Reverse<i32>, Reverse<Option<Timestamp>>) {
    let restarts = pod
        .container_statuses()
        .iter()
        .map(|status| status.restart_count);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        pod.phase() == "Running",
        pod.has_condition("Ready"),
        Reverse(restarts.max().unwrap_or(0)),
        Reverse(created),
    )
}

fn create_pod(
    objects: &mut Objects,
    context: &ReconcileContext<'_>,
    set: &ReplicaSet,
) -> Result<(), CreateError> {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone());
    let template = template.unwrap_or_default();
    let is_free = |name: &String| {
        let key = Key::new(Kind::Pod, set.namespace(), name);
        objects.object(&key).is_none()
    };
    let mut names = std::iter::repeat_with(|| format!("{}-{}", set.name(), context.names.suffix()));
    let metadata = ObjectMeta {
        name: names.find(is_free),
        generate_name: Some(format!("{}-", set.name())),
        namespace: Some(set.namespace().to_owned()),
        owner_references: Some(vec![controlled_by("ReplicaSet", &set.metadata)]),
        ..template.metadata.unwrap_or_default()
    };
    let pod = Pod {
        metadata,
        spec: template.spec,
        status: None,
    };
    pods::create(objects, context, pod)
}
