//! Deployments: a ReplicaSet for each revision of the pod template, scaled by [`rollout`].

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::{Codec, ObjectExt, PodExt};

use super::names::template_hash;
use super::object_store::{Key, Objects};
use super::replica_set::{self, controlled_by};
use super::rollout::{self, Policy, Revision};
use super::{Kind, ReconcileContext};

/// The label that assigns a pod to its revision.
const HASH: &str = "pod-template-hash";

/// The annotation that counts revisions.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// `revisionHistoryLimit` of a Deployment that sets none.
const DEFAULT_HISTORY: usize = 10;

/// Creates, numbers, scales and prunes the ReplicaSets of every Deployment, and writes the status of the Deployments.
pub(super) fn reconcile(objects: &mut Objects, context: &ReconcileContext<'_>) {
    for deployment in objects.list::<Deployment>() {
        if !deployment.is_terminating() {
            roll_out(objects, context, &deployment);
        }
    }
}

fn roll_out(objects: &mut Objects, context: &ReconcileContext<'_>, deployment: &Deployment) {
    let Some(spec) = &deployment.spec else {
        return;
    };
    let namespace = deployment.namespace();
    let newest_name = format!("{}-{}", deployment.name(), template_hash(&spec.template));
    let mut sets = replica_sets(objects, deployment);
    sets.sort_by_key(|set| revision(&set.metadata));
    let latest = sets.last().map_or(0, |set| revision(&set.metadata));
    match sets.iter().find(|set| set.name() == newest_name) {
        None => create_set(objects, context, deployment, &newest_name, latest + 1),
        // A rollback: an older revision becomes the newest.
        Some(set) if revision(&set.metadata) < latest => {
            objects.edit::<ReplicaSet>(namespace, &newest_name, |set| {
                set_revision(&mut set.metadata, latest + 1)
            });
        }
        Some(_) => {}
    }
    let pods = replica_set::pods_by_owner(objects);
    let Some(newest) = objects.get::<ReplicaSet>(namespace, &newest_name) else {
        return;
    };
    let number = revision(&newest.metadata);
    let newest = state_of(&newest, &pods);
    let older = sets.iter().filter(|set| set.name() != newest_name);
    let older: Vec<Revision> = older.map(|set| state_of(set, &pods)).collect();
    let policy = Policy::of(spec);
    if spec.paused != Some(true) {
        for (name, replicas) in rollout::step(&policy, &newest, &older) {
            objects.edit::<ReplicaSet>(namespace, &name, |set| {
                set.spec.get_or_insert_default().replicas = i32::try_from(replicas).ok();
            });
        }
    }
    prune(objects, namespace, spec.revision_history_limit, &older);
    let failure = sets.iter().find_map(|set| replica_set::failure(set));
    objects.edit::<Deployment>(namespace, deployment.name(), |deployment| {
        set_revision(&mut deployment.metadata, number);
        update_status(deployment, &policy, &newest, &older, failure, context.now);
    });
}

/// The ReplicaSets that a Deployment controls.
pub(crate) fn replica_sets(objects: &Objects, deployment: &Deployment) -> Vec<Arc<ReplicaSet>> {
    let mut sets = objects.list::<ReplicaSet>();
    sets.retain(|set| set.controller_uid() == Some(deployment.uid()));
    sets
}

/// The pods of a Deployment, of all its revisions.
pub(crate) fn pods(objects: &Objects, deployment: &Deployment) -> Vec<Arc<Pod>> {
    let mut pods = replica_set::pods_by_owner(objects);
    let sets = replica_sets(objects, deployment);
    sets.iter()
        .flat_map(|set| pods.remove(set.uid()).unwrap_or_default())
        .collect()
}

fn state_of(set: &ReplicaSet, pods: &BTreeMap<String, Vec<Arc<Pod>>>) -> Revision {
    let own = pods.get(set.uid()).map_or(&[][..], Vec::as_slice);
    let count = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
    Revision {
        name: set.name().to_owned(),
        wanted: replica_set::replicas(set),
        available: count(own.iter().filter(|pod| pod.is_serving()).count()),
        present: count(own.len()),
    }
}

fn create_set(
    objects: &mut Objects,
    context: &ReconcileContext<'_>,
    deployment: &Deployment,
    name: &str,
    number: u64,
) {
    let Some(spec) = &deployment.spec else { return };
    let hash = template_hash(&spec.template);
    let mut template = spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    let match_labels = selector.match_labels.get_or_insert_default();
    match_labels.insert(HASH.to_owned(), hash);
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            labels: Some(labels),
            owner_references: Some(vec![controlled_by("Deployment", &deployment.metadata)]),
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
    set_revision(&mut set.metadata, number);
    let key = Key::new(Kind::ReplicaSet, deployment.namespace(), name);
    objects.create(key, set.to_json(), context.now, context.names);
}

fn set_revision(meta: &mut ObjectMeta, number: u64) {
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), number.to_string());
}

fn revision(meta: &ObjectMeta) -> u64 {
    let annotations = meta.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(REVISION));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Removes the oldest ReplicaSets without pods beyond the history limit.
fn prune(objects: &mut Objects, namespace: &str, limit: Option<i32>, older: &[Revision]) {
    let limit = limit.map_or(DEFAULT_HISTORY, |limit| usize::try_from(limit).unwrap_or(0));
    let idle = older
        .iter()
        .filter(|old| old.wanted == 0 && old.present == 0);
    let idle: Vec<_> = idle.collect();
    for old in &idle[..idle.len().saturating_sub(limit)] {
        objects.remove(&Key::new(Kind::ReplicaSet, namespace, &old.name));
    }
}

fn update_status(
    deployment: &mut Deployment,
    policy: &Policy,
    newest: &Revision,
    older: &[Revision],
    failure: Option<String>,
    now: Timestamp,
) {
    let all = || older.iter().chain([newest]);
    let available: u32 = all().map(|revision| revision.available).sum();
    let existing = |revision: &Revision| revision.present.min(revision.wanted);
    let is_done = newest.available >= policy.replicas && older.iter().all(|old| old.wanted == 0);
    let old = deployment.status.take();
    let old = old.and_then(|status| status.conditions).unwrap_or_default();
    let condition = |kind: &str, holds: bool, reason: &str, message: Option<String>| {
        let status = if holds { "True" } else { "False" };
        let mut old = old.iter();
        let same = old.find(|old| old.type_ == kind && old.status == status);
        let since = same.and_then(|old| old.last_transition_time.clone());
        DeploymentCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            last_transition_time: since.or(Some(Time(now))),
            last_update_time: None,
            message,
        }
    };
    let is_available = available + policy.max_unavailable >= policy.replicas;
    let availability = match is_available {
        true => "MinimumReplicasAvailable",
        false => "MinimumReplicasUnavailable",
    };
    let progress = match is_done {
        true => "NewReplicaSetAvailable",
        false => "ReplicaSetUpdated",
    };
    let mut conditions = vec![
        condition("Available", is_available, availability, None),
        condition("Progressing", true, progress, None),
    ];
    if failure.is_some() {
        conditions.push(condition("ReplicaFailure", true, "FailedCreate", failure));
    }
    let count = |pods: u32| i32::try_from(pods).ok();
    deployment.status = Some(DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(all().map(existing).sum()),
        updated_replicas: count(existing(newest)),
        ready_replicas: count(available),
        available_replicas: count(available),
        unavailable_replicas: count(policy.replicas.saturating_sub(available)),
        conditions: Some(conditions),
        ..DeploymentStatus::default()
    });
}

/// The reason why the pods of a Deployment cannot be created: the message of its condition `ReplicaFailure`.
pub(crate) fn failure(deployment: &Deployment) -> Option<&str> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure")?;
    failure.message.as_deref()
}
