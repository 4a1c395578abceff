//! Checks the invariants of an imported state: unique records, valid ids, existing references.

use crate::full_state::FullState;
use std::collections::HashSet;
use tombolo_model::{Record, Scope, ScopeView, View, apply::appmesh, change::storage_key};

/// The violations, each with the index of its record and a message.
pub(super) fn check(state: &FullState) -> impl Iterator<Item = (usize, String)> {
    let view = state.clone().into_view();
    let mut seen = HashSet::new();
    let records = state.records.iter().enumerate();
    records.filter_map(move |(nth, (scope, record))| {
        let key = storage_key(scope, &record.key());
        let problem = if seen.insert(key) {
            problem(&view, scope, record)?
        } else {
            "this record is there twice".into()
        };
        Some((nth, problem))
    })
}

fn problem(view: &View, scope: &Scope, record: &Record) -> Option<String> {
    let held = view.scope(scope)?;
    match record {
        Record::Resource(resource) => appmesh::check_stored(held, scope, resource)
            .err()
            .map(|rejection| rejection.message),
        Record::Namespace(namespace) => {
            let found = held.namespace_by_name(&namespace.http_name);
            let is_found = found.is_some_and(|found| found.id == namespace.id);
            invalid_id(&namespace.id).or_else(|| {
                (!is_found).then(|| format!("another namespace is called {}", namespace.http_name))
            })
        }
        Record::Service(service) => {
            let found = held.service_by_name(&service.namespace_id, &service.name);
            let is_found = found.is_some_and(|found| found.id == service.id);
            invalid_id(&service.id)
                .or_else(|| missing_namespace(held, &service.namespace_id))
                .or_else(|| {
                    (!is_found).then(|| format!("another service is called {}", service.name))
                })
        }
        Record::Instance(instance) => invalid_id(&instance.id).or_else(|| {
            let service = &instance.service_id;
            held.service(service)
                .is_none()
                .then(|| format!("there is no service with the id {service}"))
        }),
        Record::Operation(operation) => invalid_id(&operation.id),
    }
}

fn missing_namespace(held: &ScopeView, id: &str) -> Option<String> {
    held.namespace(id)
        .is_none()
        .then(|| format!("there is no namespace with the id {id}"))
}

/// The error of an id that is empty, longer than 1024 bytes, or contains a zero byte, which ends ids in storage keys.
fn invalid_id(id: &str) -> Option<String> {
    let is_valid = !id.is_empty() && id.len() <= 1024 && !id.contains('\0');
    (!is_valid).then(|| format!("{id:?} cannot be an id"))
}
