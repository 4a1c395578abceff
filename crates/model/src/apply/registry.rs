//! The rules of the registry. Each noun's own rules are in its module.

mod attributes;
mod instance;
mod namespace;
mod service;

use super::{Applied, Context, Reply};
use crate::{
    Change, Reason, Record, RecordKey, Rejection, ScopeView, View,
    entropy::Entropy,
    mesh::Tag,
    registry::{DnsConfig, Health, HealthCheckConfig, NamespaceType, Operation, OperationType},
};
use std::{collections::BTreeMap, sync::Arc};

/// A command about the registry. Ids are bare, not ARNs: the doors translate.
#[derive(Clone, Debug)]
pub enum Command {
    /// Makes a namespace; answers with an operation.
    CreateNamespace(CreateNamespace),
    /// Removes an empty namespace; answers with an operation.
    DeleteNamespace {
        /// Its id.
        id: String,
    },
    /// Makes a service; answers with it.
    CreateService(CreateService),
    /// Removes a service without instances.
    DeleteService {
        /// Its id.
        id: String,
    },
    /// Registers an instance or replaces it; answers with an operation.
    RegisterInstance(RegisterInstance),
    /// Removes an instance; answers with an operation.
    DeregisterInstance {
        /// Its service.
        service_id: String,
        /// Its id.
        instance_id: String,
    },
    /// Sets an instance's health, where its service has a custom health check.
    SetHealth {
        /// Its service.
        service_id: String,
        /// Its id.
        instance_id: String,
        /// The health.
        health: Health,
    },
    /// Records what the server's own health check found, where the instance's service has one. A finding
    /// about an earlier registration of the instance changes nothing.
    RecordHealth {
        /// Its service.
        service_id: String,
        /// Its id.
        instance_id: String,
        /// The operation of the registration that was checked.
        operation_id: String,
        /// The health.
        health: Health,
    },
}

/// See [`Command::CreateNamespace`].
#[derive(Clone, Debug)]
pub struct CreateNamespace {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: NamespaceType,
    /// The VPC label, of private namespaces.
    pub vpc: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Seconds.
    pub soa_ttl: Option<u32>,
    /// Recognises a retry.
    pub creator_request_id: Option<String>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// See [`Command::CreateService`].
#[derive(Clone, Debug)]
pub struct CreateService {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace_id: String,
    /// Free text.
    pub description: Option<String>,
    /// What it publishes in DNS.
    pub dns_config: Option<DnsConfig>,
    /// A health check that the server makes.
    pub health_check: Option<HealthCheckConfig>,
    /// Whether health is reported from outside.
    pub custom_health_check: bool,
    /// Whether it is found by the API alone, in spite of its namespace.
    pub http_only: bool,
    /// Recognises a retry.
    pub creator_request_id: Option<String>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// See [`Command::RegisterInstance`].
#[derive(Clone, Debug)]
pub struct RegisterInstance {
    /// The service.
    pub service_id: String,
    /// The instance.
    pub instance_id: String,
    /// All attributes.
    pub attributes: BTreeMap<String, String>,
    /// Recognises a retry.
    pub creator_request_id: Option<String>,
}

/// Operations that are remembered per account and region; the oldest are forgotten first.
const MAX_OPERATIONS: usize = 10_000;

pub(super) fn apply(
    view: &View,
    context: &Context,
    command: &Command,
) -> Result<Applied, Rejection> {
    let empty = ScopeView::default();
    let scope = view.scope(&context.scope).unwrap_or(&empty);
    let mut decide = Decide {
        scope,
        context,
        entropy: Entropy::new(context.seed),
        changes: Vec::new(),
    };
    let reply = match command {
        Command::CreateNamespace(command) => decide.create_namespace(command),
        Command::DeleteNamespace { id } => decide.delete_namespace(id),
        Command::CreateService(command) => decide.create_service(command),
        Command::DeleteService { id } => decide.delete_service(id),
        Command::RegisterInstance(command) => decide.register_instance(command),
        Command::DeregisterInstance {
            service_id,
            instance_id,
        } => decide.deregister_instance(service_id, instance_id),
        Command::SetHealth {
            service_id,
            instance_id,
            health,
        } => decide.set_health(service_id, instance_id, *health),
        Command::RecordHealth {
            service_id,
            instance_id,
            operation_id,
            health,
        } => decide.record_health(service_id, instance_id, operation_id, *health),
    }?;
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

    /// Records the operation that stands for this command, and forgets the oldest beyond the limit.
    fn operation(&mut self, kind: OperationType, targets: &[(&str, &str)]) -> Arc<str> {
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

fn too_long(field: &str, value: Option<&str>, most: usize) -> Result<(), Rejection> {
    match value {
        Some(value) if value.chars().count() > most => Err(Rejection::invalid(
            field,
            format!("has more than {most} characters"),
        )),
        _ => Ok(()),
    }
}

fn service_not_found(id: &str) -> Rejection {
    Rejection::new(
        Reason::ServiceNotFound,
        format!("no service has the id {id}"),
    )
}

#[cfg(test)]
mod tests;
