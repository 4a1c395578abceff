//! Deletion and its consequences: dependents without an owner, and all objects of a namespace that terminates.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::object_store::{Key, Objects};
use super::{Kind, pods};

/// Deletes an object on a user's request: pods and namespaces terminate first, all else is removed at once. `false`
/// when there is no such object.
pub(crate) fn delete(
    objects: &mut Objects,
    key: &Key,
    grace_seconds: Option<i64>,
    now: Timestamp,
) -> bool {
    match key.kind {
        Kind::Pod => pods::delete(objects, &key.namespace, &key.name, grace_seconds, now),
        Kind::Namespace => {
            let terminate =
                |body: &mut serde_json::Value| body["status"]["phase"] = "Terminating".into();
            objects.begin_deletion(key, 0, now);
            objects.edit_body(key, terminate);
            objects.object(key).is_some()
        }
        _ => objects.remove(key).is_some(),
    }
}

/// One pass: deletes objects whose owners are all deleted and objects of terminating namespaces, and removes
/// terminating namespaces that are empty.
pub(super) fn reconcile(objects: &mut Objects, now: Timestamp) {
    let all = objects.all();
    let uids: BTreeSet<&str> = all
        .filter_map(|object| object.meta.uid.as_deref())
        .collect();
    let namespaces = objects.of_kind(Kind::Namespace);
    let terminating = namespaces.filter(|namespace| namespace.terminating());
    let terminating: BTreeSet<&str> = terminating
        .map(|namespace| namespace.key.name.as_str())
        .collect();
    let (mut orphaned, mut occupied) = (Vec::new(), BTreeSet::new());
    for object in objects.all() {
        occupied.insert(object.key.namespace.clone());
        let owners = object.meta.owner_references.as_deref().unwrap_or_default();
        let is_orphan =
            !owners.is_empty() && owners.iter().all(|owner| !uids.contains(&*owner.uid));
        let is_doomed = is_orphan || terminating.contains(&*object.key.namespace);
        if is_doomed && !object.terminating() {
            orphaned.push(object.key.clone());
        }
    }
    let empty = terminating.iter().filter(|name| !occupied.contains(**name));
    let empty: Vec<Key> = empty
        .map(|name| Key::new(Kind::Namespace, "", name))
        .collect();
    for key in orphaned {
        delete(objects, &key, None, now);
    }
    for key in empty {
        objects.remove(&key);
    }
}
