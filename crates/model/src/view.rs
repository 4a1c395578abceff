//! One consistent state of all records.

use crate::{
    Change, Record, RecordKey, Scope,
    appmesh::{Kind, Resource, ResourceKey},
    cloudmap::{Instance, Namespace, Operation, Service},
};
use imbl::OrdMap;
use std::sync::{Arc, LazyLock};

/// One consistent state of all records, at a revision. A clone costs a few pointers: the maps are persistent, so a
/// reader can hold its view while the writer continues.
#[derive(Clone, Default)]
pub struct View {
    /// The revision of the last change; 0 is the empty state.
    pub revision: u64,
    scopes: OrdMap<Scope, ScopeView>,
}

/// The state of one account in one region.
#[derive(Clone, Default)]
pub struct ScopeView {
    resources: OrdMap<ResourceKey, Arc<Resource>>,
    namespaces: OrdMap<Arc<str>, Arc<Namespace>>,
    /// Namespace ids by the name that discovery uses.
    namespace_ids: OrdMap<Arc<str>, Arc<str>>,
    services: OrdMap<Arc<str>, Arc<Service>>,
    /// Service ids by namespace id and name.
    service_ids: OrdMap<(Arc<str>, Arc<str>), Arc<str>>,
    instances: OrdMap<Arc<str>, ServiceInstances>,
    operations: OrdMap<Arc<str>, Arc<Operation>>,
}

/// The instances of one service.
#[derive(Clone, Default)]
pub struct ServiceInstances {
    /// The store's revision at the last registration or deregistration. It only grows: after a restart it is the
    /// revision at which the store was opened.
    pub revision: u64,
    /// By instance id.
    pub by_id: OrdMap<Arc<str>, Arc<Instance>>,
}

impl View {
    /// The state of a scope; `None` if it never had any.
    pub fn scope(&self, scope: &Scope) -> Option<&ScopeView> {
        self.scopes.get(scope)
    }

    /// The state of a scope; empty if it never had any.
    pub fn scope_or_empty(&self, scope: &Scope) -> &ScopeView {
        static EMPTY: LazyLock<ScopeView> = LazyLock::new(ScopeView::default);
        self.scopes.get(scope).unwrap_or(&EMPTY)
    }

    /// All scopes that have state.
    pub fn scopes(&self) -> impl Iterator<Item = (&Scope, &ScopeView)> {
        self.scopes.iter()
    }

    /// A mesh resource.
    pub fn resource(&self, scope: &Scope, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.scope(scope)?.resource(key)
    }

    /// Applies a change at a revision. The changes of one revision are one commit.
    pub fn apply(&mut self, revision: u64, change: &Change) {
        self.revision = revision;
        let scope = match self.scopes.get_mut(change.scope()) {
            Some(scope) => scope,
            None => self.scopes.entry(change.scope().clone()).or_default(),
        };
        match change {
            Change::Put(_, record) => scope.put(revision, record),
            Change::Delete(_, key) => scope.delete(revision, key),
        }
    }
}

impl ScopeView {
    /// A mesh resource.
    pub fn resource(&self, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.resources.get(key)
    }

    /// All meshes, by name. Each mesh is followed by its members in the map, so this seeks from mesh to mesh.
    pub fn meshes(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let first = |from: ResourceKey| {
            let (_, resource) = self.resources.range::<_, ResourceKey>(from..).next()?;
            Some(resource)
        };
        std::iter::successors(first(ResourceKey::mesh("")), move |resource| {
            // No name sorts between this one and the mesh's own.
            first(ResourceKey::mesh(format!("{}\0", resource.key.mesh)))
        })
        .filter(|resource| resource.key.kind == Kind::Mesh)
    }

    /// The resources of one kind in a mesh, by parent and name. `parent` narrows to one parent's.
    pub fn members<'a>(
        &'a self,
        mesh: &'a str,
        kind: Kind,
        parent: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        let start = ResourceKey::child(mesh, kind, parent.unwrap_or_default(), "");
        self.resources
            .range(start..)
            .map(|(_, resource)| resource)
            .take_while(move |resource| {
                let key = &resource.key;
                &*key.mesh == mesh
                    && key.kind == kind
                    && parent.is_none_or(|parent| &*key.parent == parent)
            })
    }

    /// All resources in a mesh except the mesh itself.
    pub fn mesh_members<'a>(&'a self, mesh: &'a str) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources
            .range(ResourceKey::mesh(mesh)..)
            .map(|(_, resource)| resource)
            .take_while(move |resource| &*resource.key.mesh == mesh)
            .filter(|resource| resource.key.kind != Kind::Mesh)
    }

    /// A namespace by id.
    pub fn namespace(&self, id: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(id)
    }

    /// A namespace by the name that discovery uses.
    pub fn namespace_by_name(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(self.namespace_ids.get(name)?)
    }

    /// All namespaces, by id.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.values()
    }

    /// A service by id.
    pub fn service(&self, id: &str) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// A service by namespace id and name.
    pub fn service_by_name(&self, namespace_id: &str, name: &str) -> Option<&Arc<Service>> {
        self.services
            .get(self.service_ids.get(&(namespace_id.into(), name.into()))?)
    }

    /// All services, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The services of a namespace, by name.
    pub fn services_of<'a>(
        &'a self,
        namespace_id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Service>> {
        self.service_ids
            .range((Arc::from(namespace_id), Arc::from(""))..)
            .take_while(move |((namespace, _), _)| &**namespace == namespace_id)
            .filter_map(|(_, id)| self.services.get(id))
    }

    /// The instances of a service; `None` when none was ever registered.
    pub fn instances(&self, service_id: &str) -> Option<&ServiceInstances> {
        self.instances.get(service_id)
    }

    /// An instance.
    pub fn instance(&self, service_id: &str, id: &str) -> Option<&Arc<Instance>> {
        self.instances.get(service_id)?.by_id.get(id)
    }

    /// The number of instances of a service.
    pub fn instance_count(&self, service_id: &str) -> usize {
        self.instances
            .get(service_id)
            .map_or(0, |instances| instances.by_id.len())
    }

    /// An operation by id.
    pub fn operation(&self, id: &str) -> Option<&Arc<Operation>> {
        self.operations.get(id)
    }

    /// All operations, oldest first.
    pub fn operations(&self) -> impl DoubleEndedIterator<Item = &Arc<Operation>> {
        self.operations.values()
    }

    /// The number of operations.
    pub fn operation_count(&self) -> usize {
        self.operations.len()
    }

    fn put(&mut self, revision: u64, record: &Record) {
        match record {
            Record::Resource(resource) => {
                self.resources
                    .insert(resource.key.clone(), resource.clone());
            }
            Record::Namespace(namespace) => {
                self.namespace_ids
                    .insert(namespace.http_name.clone(), namespace.id.clone());
                self.namespaces
                    .insert(namespace.id.clone(), namespace.clone());
            }
            Record::Service(service) => {
                let name = (service.namespace_id.clone(), service.name.clone());
                self.service_ids.insert(name, service.id.clone());
                self.services.insert(service.id.clone(), service.clone());
            }
            Record::Instance(instance) => {
                let instances = self
                    .instances
                    .entry(instance.service_id.clone())
                    .or_default();
                let before = instances
                    .by_id
                    .insert(instance.id.clone(), instance.clone());
                // Each registration has its own operation; with the same one, only the health changed.
                if before.is_none_or(|before| before.operation_id != instance.operation_id) {
                    instances.revision = revision;
                }
            }
            Record::Operation(operation) => {
                self.operations
                    .insert(operation.id.clone(), operation.clone());
            }
        }
    }

    fn delete(&mut self, revision: u64, key: &RecordKey) {
        match key {
            RecordKey::Resource(key) => {
                self.resources.remove(key);
            }
            RecordKey::Namespace(id) => {
                if let Some(namespace) = self.namespaces.remove(id) {
                    self.namespace_ids.remove(&namespace.http_name);
                }
            }
            RecordKey::Service(id) => {
                if let Some(service) = self.services.remove(id) {
                    let name = (service.namespace_id.clone(), service.name.clone());
                    self.service_ids.remove(&name);
                }
                self.instances.remove(id);
            }
            RecordKey::Instance(service_id, id) => {
                if let Some(instances) = self.instances.get_mut(service_id) {
                    instances.revision = revision;
                    instances.by_id.remove(id);
                }
            }
            RecordKey::Operation(id) => {
                self.operations.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        appmesh::{Metadata, Spec, spec::MeshSpec},
    };

    fn resource(key: ResourceKey) -> Record {
        Record::Resource(Arc::new(Resource {
            key,
            metadata: Metadata {
                arn: String::new(),
                uid: String::new(),
                version: 1,
                created_at: Timestamp(0),
                last_updated_at: Timestamp(0),
                mesh_owner: "1".into(),
                resource_owner: "1".into(),
            },
            spec: Spec::Mesh(MeshSpec::default()),
            tags: Vec::new(),
            created_by: None,
            updated_by: None,
        }))
    }

    #[test]
    fn members_stop_at_the_mesh_the_kind_and_the_parent() {
        let scope = Scope::new("111122223333", "here");
        let mut view = View::default();
        for key in [
            ResourceKey::mesh("a"),
            ResourceKey::child("a", Kind::Route, "r", "1"),
            ResourceKey::child("a", Kind::Route, "r", "2"),
            ResourceKey::child("a", Kind::Route, "s", "3"),
            ResourceKey::new("a", Kind::VirtualService, "v"),
            ResourceKey::child("b", Kind::Route, "r", "4"),
        ] {
            view.apply(1, &Change::Put(scope.clone(), resource(key)));
        }
        let scope = view.scope(&scope).expect("just filled");
        let names = |parent| -> Vec<String> {
            scope
                .members("a", Kind::Route, parent)
                .map(|r| r.key.name.to_string())
                .collect()
        };
        assert_eq!(names(Some("r")), ["1", "2"]);
        assert_eq!(names(None), ["1", "2", "3"]);
        assert_eq!(scope.mesh_members("a").count(), 4);
        assert_eq!(scope.meshes().count(), 1);
    }
}
