//! All records of a store at one revision, for export, import and replacement.

use crate::record_codec;
use std::sync::Arc;
use tombolo_model::{Record, Scope, View};

/// All records of a store at one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FullState {
    /// The revision of the store.
    pub revision: u64,
    /// All records, in the order of [`FullState::of`].
    pub records: Vec<(Scope, Record)>,
}

impl FullState {
    /// The records of a view, in a stable order: by account and region; within each, resources mesh by mesh, then
    /// namespaces, services, instances, operations.
    pub fn of(view: &View) -> Self {
        let mut records = Vec::new();
        for (scope, held) in view.scopes() {
            let mut add = |record| records.push((scope.clone(), record));
            for mesh in held.meshes() {
                add(Record::Resource(mesh.clone()));
                for member in held.mesh_members(&mesh.key.mesh) {
                    add(Record::Resource(member.clone()));
                }
            }
            for namespace in held.namespaces() {
                add(Record::Namespace(namespace.clone()));
            }
            for service in held.services() {
                add(Record::Service(service.clone()));
            }
            for service in held.services() {
                let instances = held.instances(&service.id).into_iter();
                for instance in instances.flat_map(|instances| instances.by_id.values()) {
                    add(Record::Instance(Arc::clone(instance)));
                }
            }
            for operation in held.operations() {
                add(Record::Operation(operation.clone()));
            }
        }
        Self {
            revision: view.revision,
            records,
        }
    }

    pub(crate) fn into_view(self) -> View {
        record_codec::view(self.revision, self.records)
    }
}
