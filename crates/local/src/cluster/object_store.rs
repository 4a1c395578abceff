//! The object store of one cluster: objects with versions, and a watch for changes.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tombolo_kube::{ClusterObjects, Codec, manifest};

use super::kind::Kind;
use super::mesh_object_cache;
use super::names::NameGenerator;

/// Identifies an object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    /// Empty for kinds without a namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// The key of an object; the namespace of a kind without one is ignored.
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced() { namespace } else { "" };
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of a manifest's object; `None` for kinds that are not run.
    pub(crate) fn of(object: &manifest::Object) -> Option<Self> {
        let kind = match object {
            manifest::Object::Istio(_) | manifest::Object::NotRun(_) => return None,
            object => Kind::read(object.api_version(), object.kind())?,
        };
        let namespace = object.namespace().unwrap_or_default();
        Some(Self::new(kind, namespace, object.name()))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.singular(), self.name)
    }
}

/// One version of one object. A change makes a new version; readers keep the one that they hold.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) key: Key,
    /// `metadata` of the body.
    pub(crate) meta: ObjectMeta,
    /// The whole object as the API shows it.
    pub(crate) body: Value,
    /// The body decoded as its type, at most once per version.
    typed: OnceLock<Option<Arc<dyn Any + Send + Sync>>>,
}

impl Object {
    /// The object as a type; `None` when the body does not have that shape.
    pub(crate) fn read<T: Codec + Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let typed = self.typed.get_or_init(|| match T::from_json(&self.body) {
            Ok(value) => Some(Arc::new(value)),
            Err(error) => {
                tracing::error!(object = %self.key, %error, "stored object has an unexpected shape");
                None
            }
        });
        typed.clone()?.downcast::<T>().ok()
    }

    /// Whether deletion has begun.
    pub(crate) fn terminating(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// A field of the body by JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer)?.as_str()
    }
}

/// A Kubernetes type that the store holds.
pub(crate) trait Stored:
    Metadata<Ty = ObjectMeta> + Codec + Clone + Any + Send + Sync
{
}
impl<T: Metadata<Ty = ObjectMeta> + Codec + Clone + Any + Send + Sync> Stored for T {}

/// All objects of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    revision: u64,
    items: BTreeMap<Key, Arc<Object>>,
    /// Typed namespaces and mesh objects of `items`. Their status may be older than in `items`.
    mesh: Arc<ClusterObjects>,
}

impl Objects {
    /// Grows by one with each change.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Namespaces and mesh objects, in the form that admission, conversion and injection read. The same `Arc` as long
    /// as nothing but the status of an object has changed.
    pub(crate) fn mesh(&self) -> &Arc<ClusterObjects> {
        &self.mesh
    }

    /// One object.
    pub(crate) fn object(&self, key: &Key) -> Option<&Arc<Object>> {
        self.items.get(key)
    }

    /// The number of objects.
    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }

    /// Every object of a kind, by namespace and name.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        let start = Key {
            kind,
            namespace: String::new(),
            name: String::new(),
        };
        self.items
            .range(start..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// Every object.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.items.values()
    }

    /// One object as a type.
    pub(crate) fn get<T: Stored>(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.items
            .get(&Key::new(Kind::of::<T>()?, namespace, name))?
            .read()
    }

    /// All objects of a type.
    pub(crate) fn list<T: Stored>(&self) -> Vec<Arc<T>> {
        let Some(kind) = Kind::of::<T>() else {
            return Vec::new();
        };
        self.of_kind(kind)
            .filter_map(|object| object.read())
            .collect()
    }

    /// Stores a new object with its uid, creation time and first generation; `None` when the name is taken.
    pub(crate) fn create(
        &mut self,
        key: Key,
        mut body: Value,
        now: Timestamp,
        names: &NameGenerator,
    ) -> Option<Arc<Object>> {
        if self.items.contains_key(&key) {
            return None;
        }
        let meta = metadata(&mut body);
        meta.insert("name".into(), key.name.clone().into());
        if key.kind.namespaced() {
            meta.insert("namespace".into(), key.namespace.clone().into());
        }
        meta.insert("uid".into(), names.uid().into());
        meta.insert("generation".into(), 1.into());
        meta.insert("creationTimestamp".into(), time(now));
        meta.shift_remove("deletionTimestamp");
        Some(self.commit(key, body))
    }

    /// Replaces a body; the status and the identity (uid, times, generation) stay. `false` when nothing changed.
    pub(crate) fn replace(&mut self, key: &Key, mut body: Value) -> bool {
        let Some(old) = self.items.get(key).cloned() else {
            return false;
        };
        let old_meta = old.body.get("metadata").cloned().unwrap_or_default();
        let meta = metadata(&mut body);
        for field in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ] {
            match old_meta.get(field) {
                Some(value) => meta.insert(field.into(), value.clone()),
                None => meta.shift_remove(field),
            };
        }
        if let Some(body) = body.as_object_mut() {
            match old.body.get("status") {
                Some(status) => body.insert("status".into(), status.clone()),
                None => body.shift_remove("status"),
            };
        }
        self.put(&old, body)
    }

    /// Edits an object as its type; `false` when it is absent or the edit changed nothing.
    pub(crate) fn edit<T: Stored>(
        &mut self,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut T),
    ) -> bool {
        let key = Kind::of::<T>().map(|kind| Key::new(kind, namespace, name));
        let old = key.and_then(|key| self.items.get(&key).cloned());
        let Some((old, typed)) = old.and_then(|old| Some((old.clone(), old.read::<T>()?))) else {
            return false;
        };
        let mut typed = T::clone(&typed);
        edit(&mut typed);
        self.put(&old, typed.to_json())
    }

    /// Edits the JSON of an object; `false` when it is absent or the edit changed nothing.
    pub(crate) fn edit_body(&mut self, key: &Key, edit: impl FnOnce(&mut Value)) -> bool {
        let Some(old) = self.items.get(key).cloned() else {
            return false;
        };
        let mut body = old.body.clone();
        edit(&mut body);
        self.put(&old, body)
    }

    /// Begins the deletion of an object; the owner of its processes removes it when they have ended. The grace period
    /// of a deletion that has begun can only be shortened.
    pub(crate) fn begin_deletion(&mut self, key: &Key, grace_seconds: i64, now: Timestamp) -> bool {
        self.edit_body(key, |body| {
            let meta = metadata(body);
            let grace = "deletionGracePeriodSeconds";
            let old = meta.get(grace).and_then(Value::as_i64);
            if !meta.contains_key("deletionTimestamp") {
                meta.insert("deletionTimestamp".into(), time(now));
            } else if old.is_none_or(|old| old <= grace_seconds) {
                return;
            }
            meta.insert(grace.into(), grace_seconds.into());
        })
    }

    /// Removes an object.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let removed = self.items.remove(key)?;
        self.revision += 1;
        mesh_object_cache::remove(&mut self.mesh, key);
        Some(removed)
    }

    /// Commits a body if it differs from the stored one. A difference outside of metadata and status is a
    /// new generation.
    fn put(&mut self, old: &Arc<Object>, mut body: Value) -> bool {
        if let Some(version) = old.body.pointer("/metadata/resourceVersion") {
            metadata(&mut body).insert("resourceVersion".into(), version.clone());
        }
        if body == old.body {
            return false;
        }
        if content(&body) != content(&old.body) {
            let generation = old.meta.generation.unwrap_or(0) + 1;
            metadata(&mut body).insert("generation".into(), generation.into());
        }
        self.commit(old.key.clone(), body);
        true
    }

    fn commit(&mut self, key: Key, mut body: Value) -> Arc<Object> {
        self.revision += 1;
        metadata(&mut body).insert("resourceVersion".into(), self.revision.to_string().into());
        let meta = body
            .get("metadata")
            .and_then(|meta| ObjectMeta::from_json(meta).ok())
            .unwrap_or_default();
        let object = Arc::new(Object {
            key: key.clone(),
            meta,
            body,
            typed: OnceLock::new(),
        });
        let old = self.items.insert(key, object.clone());
        mesh_object_cache::put(&mut self.mesh, old.as_deref(), &object);
        object
    }
}

/// The parts of a body that count for its generation: all but metadata and status.
fn content(body: &Value) -> Vec<(&String, &Value)> {
    let fields = body.as_object().into_iter().flatten();
    let is_content = |name: &str| !matches!(name, "metadata" | "status");
    fields.filter(|(name, _)| is_content(name)).collect()
}

fn metadata(body: &mut Value) -> &mut serde_json::Map<String, Value> {
    fn object(value: &mut Value) -> &mut serde_json::Map<String, Value> {
        if !value.is_object() {
            *value = Value::Object(serde_json::Map::new());
        }
        match value {
            Value::Object(fields) => fields,
            _ => unreachable!("just made an object"),
        }
    }
    object(object(body).entry("metadata").or_insert_with(|| json!({})))
}

fn time(time: Timestamp) -> Value {
    serde_json::to_value(Time(time)).unwrap_or_default()
}

/// The objects of a cluster, shared by tasks. The lock is never held across an await.
#[derive(Debug)]
pub(crate) struct ObjectStore {
    /// Guards every object of the cluster.
    objects: Mutex<Objects>,
    changed: watch::Sender<u64>,
}

impl Default for ObjectStore {
    fn default() -> Self {
        Self {
            objects: Mutex::default(),
            changed: watch::channel(0).0,
        }
    }
}

impl ObjectStore {
    /// Calls a function with the objects. The function must not write to the store or block.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Objects) -> R) -> R {
        read(&self.objects.lock())
    }

    /// Changes the objects; watchers wake only if something differs.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut Objects) -> R) -> R {
        let mut objects = self.objects.lock();
        let result = change(&mut objects);
        let revision = objects.revision;
        drop(objects);
        self.changed
            .send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        result
    }

    /// Marked as changed after each change; the value is the revision.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn store() -> (Objects, NameGenerator) {
        (Objects::default(), NameGenerator::seeded(1))
    }

    fn config(objects: &mut Objects, names: &NameGenerator) -> Key {
        let key = Key::new(Kind::ConfigMap, "shop", "settings");
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}});
        objects
            .create(key.clone(), body, Timestamp::UNIX_EPOCH, names)
            .unwrap();
        key
    }

    #[test]
    fn unchanged_edit_keeps_the_version() {
        let (mut objects, names) = store();
        config(&mut objects, &names);
        let revision = objects.revision();
        assert!(!objects.edit::<ConfigMap>("shop", "settings", |_| {}));
        assert_eq!(objects.revision(), revision);
    }

    #[test]
    fn generation_counts_changes_of_content_but_not_of_status_or_labels() {
        let (mut objects, names) = store();
        let key = config(&mut objects, &names);
        objects.edit_body(&key, |body| body["status"] = json!({"x": 1}));
        objects.edit_body(&key, |body| body["metadata"]["labels"] = json!({"x": "1"}));
        assert_eq!(objects.object(&key).unwrap().meta.generation, Some(1));
        objects.edit_body(&key, |body| body["data"]["a"] = json!("2"));
        assert_eq!(objects.object(&key).unwrap().meta.generation, Some(2));
    }

    #[test]
    fn replacing_keeps_identity_and_status() {
        let (mut objects, names) = store();
        let key = config(&mut objects, &names);
        objects.edit_body(&key, |body| body["status"] = json!({"x": 1}));
        let uid = objects.object(&key).unwrap().meta.uid.clone();
        assert!(objects.replace(
            &key,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"uid": "forged"}}),
        ));
        let object = objects.object(&key).unwrap();
        assert_eq!(object.meta.uid, uid);
        assert_eq!(object.body["status"], json!({"x": 1}));
    }

    #[tokio::test]
    async fn watchers_sleep_through_writes_that_change_nothing() {
        let shared = ObjectStore::default();
        let watch = shared.watch();
        shared.write(|_| ());
        assert!(!watch.has_changed().unwrap());
        shared.write(|objects| config(objects, &NameGenerator::seeded(2)));
        assert!(watch.has_changed().unwrap());
    }
}
