//! The rules of Cloud Map. Those of namespaces, services, instances and tags are in their modules.

mod attributes;
mod bounds;
mod command;
mod dns;
mod health_check;
mod instance;
mod lookup;
mod namespace;
mod service;
mod service_attributes;
mod tag;

pub use attributes::is_key as is_attribute_key;
pub use attributes::is_value as is_attribute_value;
pub use bounds::instance_id as check_instance_id;
pub use command::*;
pub use lookup::{instance, namespace, service};
pub use service::is_name as is_service_name;

use super::{Applied, Context};
use crate::{
    Change, Record, RecordKey, Rejection, ScopeView, View,
    cloudmap::{Operation, OperationType, UpdateRequest},
    entropy::Entropy,
};
use std::sync::Arc;

/// Maximum number of operations in one account and region; the oldest are deleted first.
const MAX_OPERATIONS: usize = 10_000;

pub(super) fn apply(
    view: &View,
    context: &Context,
    command: &Command,
) -> Result<Applied, Rejection> {
    let mut decide = Decide {
        scope: view.scope_or_empty(&context.scope),
        context,
        entropy: Entropy::new(context.seed),
        changes: Vec::new(),
    };
    let reply = decide.decide(command)?;
    Ok(Applied {
        changes: decide.changes,
        reply,
    })
}

struct Decide<'a> {
    scope: &'a ScopeView,
    context: &'a Context,
    entropy: Entropy,
    changes: Vec<Change>,
}

impl Decide<'_> {
    fn put(&mut self, record: Record) {
        self.changes
            .push(Change::Put(self.context.scope.clone(), record));
    }

    fn remove(&mut self, key: RecordKey) {
        self.changes
            .push(Change::Delete(self.context.scope.clone(), key));
    }

    /// Adds a finished operation; answers with its id.
    fn operation(&mut self, kind: OperationType, targets: &[(&str, &str)]) -> Arc<str> {
        self.operation_of(kind, targets, None)
    }

    /// As [`Self::operation`], with the request by which a retry is recognized. Deletes the oldest operations beyond
    /// the maximum.
    fn operation_of(
        &mut self,
        kind: OperationType,
        targets: &[(&str, &str)],
        request: Option<UpdateRequest>,
    ) -> Arc<str> {
        let id: Arc<str> = self.entropy.operation_id(self.context.now).into();
        let targets = targets
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        let at = self.context.now;
        self.put(Record::Operation(Arc::new(Operation {
            id: id.clone(),
            kind,
            targets,
            at,
            request,
        })));
        let surplus = (self.scope.operation_count() + 1).saturating_sub(MAX_OPERATIONS);
        let oldest: Vec<_> = self
            .scope
            .operations()
            .take(surplus)
            .map(|o| o.id.clone())
            .collect();
        for id in oldest {
            self.remove(RecordKey::Operation(id));
        }
        id
    }
}

#[cfg(test)]
mod tests;
