//! The rules of the registry. Each noun's own rules are in its module.

mod attributes;
mod bounds;
mod dns;
mod health_check;
mod instance;
mod namespace;
mod service;
mod service_attributes;
mod tag;

pub use attributes::is_key as is_attribute_key;
pub use attributes::is_value as is_attribute_value;
pub use service::is_name as is_service_name;

use super::{Applied, Context, Reply};
use crate::{
    Change, Record, RecordKey, Rejection, ScopeView, View,
    appmesh::Tag,
    cloudmap::{
        DnsConfig, DnsRecord, Health, HealthCheckConfig, NamespaceType, Operation, OperationType,
        UpdateRequest,
    },
    entropy::Entropy,
};
use std::{collections::BTreeMap, sync::Arc};

/// A command about the registry. Ids are bare, not ARNs: the API translates.
#[derive(Clone, Debug)]
pub enum Command {
    /// Makes a namespace; answers with an operation.
    CreateNamespace(CreateNamespace),
    /// Changes a namespace; answers with an operation.
    UpdateNamespace(UpdateNamespace),
    /// Removes an empty namespace; answers with an operation.
    DeleteNamespace {
        /// Its id.
        id: String,
    },
    /// Makes a service; answers with it.
    CreateService(CreateService),
    /// Changes a service; answers with an operation.
    UpdateService(UpdateService),
    /// Removes a service without instances.
    DeleteService {
        /// Its id.
        id: String,
    },
    /// Adds attributes to a service itself, or gives them other values.
    UpdateServiceAttributes {
        /// Its id.
        service_id: String,
        /// The attributes.
        attributes: BTreeMap<String, String>,
    },
    /// Takes attributes from a service itself.
    DeleteServiceAttributes {
        /// Its id.
        service_id: String,
        /// Their keys.
        keys: Vec<String>,
    },
    /// Adds tags, or gives them other values.
    Tag {
        /// What is tagged.
        resource: Tagged,
        /// The tags.
        tags: Vec<Tag>,
    },
    /// Removes tags.
    Untag {
        /// What is tagged.
        resource: Tagged,
        /// The keys of the tags.
        tag_keys: Vec<String>,
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

/// See [`Command::UpdateNamespace`]. What is absent stays.
#[derive(Clone, Debug)]
pub struct UpdateNamespace {
    /// Its id.
    pub id: String,
    /// The type that it must have.
    pub kind: NamespaceType,
    /// Free text; an empty one takes the description away.
    pub description: Option<String>,
    /// Seconds.
    pub soa_ttl: Option<u32>,
    /// Recognises a retry.
    pub updater_request_id: Option<String>,
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

/// See [`Command::UpdateService`].
#[derive(Clone, Debug)]
pub struct UpdateService {
    /// Its id.
    pub id: String,
    /// Free text; absent, the description stays; empty, it goes.
    pub description: Option<String>,
    /// The records that it publishes from now on, of types that it has published so far.
    pub dns_records: Vec<DnsRecord>,
    /// The health check that the server makes from now on.
    pub health_check: Option<HealthCheckConfig>,
}

/// What can have tags, by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// A namespace.
    Namespace(String),
    /// A service.
    Service(String),
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
        Command::UpdateNamespace(command) => decide.update_namespace(command),
        Command::DeleteNamespace { id } => decide.delete_namespace(id),
        Command::CreateService(command) => decide.create_service(command),
        Command::UpdateService(command) => decide.update_service(command),
        Command::DeleteService { id } => decide.delete_service(id),
        Command::UpdateServiceAttributes {
            service_id,
            attributes,
        } => decide.update_service_attributes(service_id, attributes),
        Command::DeleteServiceAttributes { service_id, keys } => {
            decide.delete_service_attributes(service_id, keys)
        }
        Command::Tag { resource, tags } => decide.tag(resource, tags),
        Command::Untag { resource, tag_keys } => decide.untag(resource, tag_keys),
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

    /// Records the operation that stands for this command.
    fn operation(&mut self, kind: OperationType, targets: &[(&str, &str)]) -> Arc<str> {
        self.operation_of(kind, targets, None)
    }

    /// As [`Self::operation`], with what must be known about a retry. Forgets the oldest operations beyond
    /// the limit.
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
