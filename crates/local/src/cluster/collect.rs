//! What follows the deletion of an object: what it owned, and what lived in it.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::object::{Key, Objects};
use super::{Kind, pods};

/// Deletes one object as a user asks for it. Pods and namespaces take their time; all else is gone at once.
/// `false` when there is no such object.
pub fn delete(
    objects: &mut Objects,
    key: &Key,
    grace_seconds: Option<i64>,
    now: Timestamp,
) -> bool {
    if objects.object(key).is_none() {
        return false;
    }
    match key.kind {
        Kind::Pod => {
            pods::delete(objects, &key.namespace, &key.name, grace_seconds, now);
        }
        Kind::Namespace => {
            objects.begin_deletion(key, 0, now);
            objects.edit_body(key, |body| body["status"]["phase"] = "Terminating".into());
        }
        _ => {
            objects.remove(key);
        }
    }
    true
}

/// One pass: owned objects without their owner go, and so does all that lives in a namespace that ends.
pub fn reconcile(objects: &mut Objects, now: Timestamp) {
    let uids: BTreeSet<&str> = objects
        .all()
        .filter_map(|object| object.meta.uid.as_deref())
        .collect();
    let ending: BTreeSet<&str> = objects
        .of_kind(Kind::Namespace)
        .filter(|namespace| namespace.terminating())
        .map(|namespace| namespace.key.name.as_str())
        .collect();
    let orphaned = objects
        .all()
        .filter(|object| !object.terminating())
        .filter(|object| {
            let owners = object.meta.owner_references.as_deref().unwrap_or_default();
            let alone = !owners.is_empty()
                && owners
                    .iter()
                    .all(|owner| !uids.contains(owner.uid.as_str()));
            alone || ending.contains(object.key.namespace.as_str())
        });
    let orphaned: Vec<Key> = orphaned.map(|object| object.key.clone()).collect();
    let empty: Vec<Key> = ending
        .iter()
        .filter(|name| objects.all().all(|object| object.key.namespace != **name))
        .map(|name| Key::new(Kind::Namespace, "", name))
        .collect();
    for key in orphaned {
        delete(objects, &key, None, now);
    }
    for key in empty {
        objects.remove(&key);
    }
}
