//! Records, their changes, and their keys in the store.

use crate::{
    Scope,
    appmesh::{Resource, ResourceKey},
    cloudmap::{Instance, Namespace, Operation, Service},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, sync::Arc};

/// A stored value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A mesh resource.
    Resource(Arc<Resource>),
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// A service.
    Service(Arc<Service>),
    /// An instance.
    Instance(Arc<Instance>),
    /// An operation.
    Operation(Arc<Operation>),
}

/// The JSON of a record in its scope.
#[derive(Serialize, Deserialize)]
struct Scoped {
    scope: Scope,
    record: Record,
}

/// A record in its scope as JSON, as stores keep it.
///
/// serde's functions are generic, so each crate that calls one compiles the code of every type inside again. The
/// functions here do not, and this crate calls them for all.
pub fn to_json(scope: &Scope, record: &Record) -> Vec<u8> {
    let scoped = Scoped {
        scope: scope.clone(),
        record: record.clone(),
    };
    serde_json::to_vec(&scoped).expect("records have string keys")
}

/// Reads what [`to_json`] wrote.
///
/// # Errors
/// The first byte that is not such JSON, or the first member that does not fit.
pub fn from_json(json: &[u8]) -> Result<(Scope, Record), serde_json::Error> {
    let scoped: Scoped = serde_json::from_slice(json)?;
    Ok((scoped.scope, scoped.record))
}

/// The identity of a [`Record`] within its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RecordKey {
    /// A mesh resource.
    Resource(ResourceKey),
    /// A namespace by id.
    Namespace(Arc<str>),
    /// A service by id.
    Service(Arc<str>),
    /// An instance by service id and instance id.
    Instance(Arc<str>, Arc<str>),
    /// An operation by id.
    Operation(Arc<str>),
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordKey::Resource(key) => key.fmt(f),
            RecordKey::Namespace(id) => write!(f, "namespace/{id}"),
            RecordKey::Service(id) => write!(f, "service/{id}"),
            RecordKey::Instance(service, id) => write!(f, "service/{service}/instance/{id}"),
            RecordKey::Operation(id) => write!(f, "operation/{id}"),
        }
    }
}

impl Record {
    /// The record without its scope, as a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("records have string keys")
    }

    /// The key under which the record is stored.
    pub fn key(&self) -> RecordKey {
        match self {
            Record::Resource(resource) => RecordKey::Resource(resource.key.clone()),
            Record::Namespace(namespace) => RecordKey::Namespace(namespace.id.clone()),
            Record::Service(service) => RecordKey::Service(service.id.clone()),
            Record::Instance(instance) => {
                RecordKey::Instance(instance.service_id.clone(), instance.id.clone())
            }
            Record::Operation(operation) => RecordKey::Operation(operation.id.clone()),
        }
    }
}

/// One change to one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates or replaces a record.
    Put(Scope, Record),
    /// Deletes a record.
    Delete(Scope, RecordKey),
}

impl Change {
    /// Account and region of the record.
    pub fn scope(&self) -> &Scope {
        match self {
            Change::Put(scope, _) | Change::Delete(scope, _) => scope,
        }
    }

    /// The key of the record.
    pub fn key(&self) -> RecordKey {
        match self {
            Change::Put(_, record) => record.key(),
            Change::Delete(_, key) => key.clone(),
        }
    }
}

/// The key of a record in the store: scope, a letter for the type, then the parts of the record's key, each ended by
/// a zero byte, which no name contains.
pub fn storage_key(scope: &Scope, key: &RecordKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    let mut part = |text: &str| {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    };
    part(&scope.account);
    part(&scope.region);
    let parts: &[&str] = match key {
        RecordKey::Resource(ResourceKey {
            mesh,
            kind,
            parent,
            name,
        }) => &["r", mesh, kind.path_segment(), parent, name],
        RecordKey::Namespace(id) => &["n", id],
        RecordKey::Service(id) => &["s", id],
        RecordKey::Instance(service, id) => &["i", service, id],
        RecordKey::Operation(id) => &["o", id],
    };
    parts.iter().copied().for_each(part);
    bytes
}
