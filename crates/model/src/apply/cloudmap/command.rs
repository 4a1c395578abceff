//! The commands of Cloud Map. Those that callers of the API send are its inputs, with the members' names on the wire.
//!
//! Namespaces and services are named by id or by ARN.

use crate::{
    appmesh::Tag,
    cloudmap::{DnsConfig, DnsRecord, Health, HealthCheckConfig, NamespaceType, soa_ttl, tag_list},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Declares [`Command`]: each variant has the command of its name, which the named method applies.
macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident => $decide:ident,)+) => {
        /// A command of Cloud Map.
        #[derive(Clone, Debug)]
        pub enum Command {
            $($(#[$doc])* $name($name),)+
        }

        $(impl From<$name> for Command {
            fn from(command: $name) -> Self {
                Self::$name(command)
            }
        })+

        impl super::Decide<'_> {
            pub(super) fn decide(
                &mut self,
                command: &Command,
            ) -> Result<crate::Reply, crate::Rejection> {
                match command {
                    $(Command::$name(command) => self.$decide(command),)+
                }
            }
        }
    };
}

commands! {
    /// Returns an operation.
    CreateNamespace => create_namespace,
    /// Returns an operation.
    UpdateNamespace => update_namespace,
    /// Returns an operation.
    DeleteNamespace => delete_namespace,
    /// Returns the service.
    CreateService => create_service,
    /// Returns an operation.
    UpdateService => update_service,
    /// Has no result.
    DeleteService => delete_service,
    /// Has no result.
    UpdateServiceAttributes => update_service_attributes,
    /// Has no result.
    DeleteServiceAttributes => delete_service_attributes,
    /// Has no result.
    AddTags => add_tags,
    /// Has no result.
    RemoveTags => remove_tags,
    /// Returns an operation.
    RegisterInstance => register_instance,
    /// Returns an operation.
    DeregisterInstance => deregister_instance,
    /// Has no result.
    UpdateInstanceCustomHealthStatus => update_custom_health,
    /// Has no result.
    RecordHealth => record_health,
}

/// Creates a namespace. The API has an operation for each type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNamespace {
    /// See facts/cloudmap-api.md §4 for the bounds.
    pub name: String,
    /// The type, which on the wire is the operation.
    #[serde(skip)]
    pub kind: NamespaceType,
    /// The VPC of a private DNS namespace, up to 64 characters; ignored for other types.
    pub vpc: Option<String>,
    /// Up to 1024 characters.
    pub description: Option<String>,
    /// TTL of the SOA record of a DNS namespace in seconds; ignored for HTTP namespaces.
    #[serde(rename = "Properties", default, with = "soa_ttl")]
    pub soa_ttl: Option<u32>,
    /// Identifies a retry; up to 64 characters.
    pub creator_request_id: Option<String>,
    /// At most 50.
    #[serde(default, with = "tag_list::optional")]
    pub tags: Vec<Tag>,
}

/// Changes a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateNamespace {
    /// Id or ARN.
    pub id: String,
    /// The type that the namespace must have; on the wire it is the operation.
    #[serde(skip)]
    pub kind: NamespaceType,
    /// Identifies a retry; up to 64 characters.
    pub updater_request_id: Option<String>,
    /// The changes.
    pub namespace: NamespaceChange,
}

/// The changes to a namespace; absent members stay the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamespaceChange {
    /// Up to 1024 characters; the empty text removes the description. Required for HTTP namespaces.
    pub description: Option<String>,
    /// TTL of the SOA record of a DNS namespace in seconds; ignored for HTTP namespaces.
    #[serde(rename = "Properties", default, with = "soa_ttl")]
    pub soa_ttl: Option<u32>,
}

/// Deletes a namespace without services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteNamespace {
    /// Id or ARN.
    pub id: String,
}

/// Creates a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateService {
    /// 1 to 127 characters, see [`is_service_name`](super::is_service_name).
    pub name: String,
    /// Id or ARN of the namespace.
    pub namespace_id: String,
    /// Up to 1024 characters.
    pub description: Option<String>,
    /// The DNS records of its instances.
    pub dns_config: Option<DnsConfig>,
    /// A health check that the server makes.
    pub health_check: Option<HealthCheckConfig>,
    /// Whether callers report the health of instances.
    pub custom_health_check: bool,
    /// Whether it is discovered by the API only, although its namespace has DNS.
    pub http_only: bool,
    /// Identifies a retry; up to 64 characters.
    pub creator_request_id: Option<String>,
    /// At most 50.
    pub tags: Vec<Tag>,
}

/// Changes a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateService {
    /// Id or ARN.
    pub id: String,
    /// The changes.
    pub service: ServiceChange,
}

/// The changes to a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceChange {
    /// Up to 1024 characters. Absent, the description stays; the empty text removes it.
    pub description: Option<String>,
    /// The DNS records from now on, of types that the service has already; absent ones are removed.
    #[serde(rename = "DnsConfig", default, with = "dns_records")]
    pub dns_records: Vec<DnsRecord>,
    /// The health check that the server makes from now on; absent, it is removed.
    #[serde(rename = "HealthCheckConfig")]
    pub health_check: Option<HealthCheckConfig>,
}

/// Deletes a service without instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteService {
    /// Id or ARN.
    pub id: String,
}

/// Adds attributes to a service itself, or overwrites their values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateServiceAttributes {
    /// Id or ARN.
    pub service_id: String,
    /// 1 to 30; keys up to 255 characters, values up to 1024.
    pub attributes: BTreeMap<String, String>,
}

/// Removes attributes from a service itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteServiceAttributes {
    /// Id or ARN.
    pub service_id: String,
    /// 1 to 30; keys without an attribute are ignored.
    #[serde(rename = "Attributes")]
    pub keys: Vec<String>,
}

/// A resource that can have tags, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tagged {
    Namespace(String),
    Service(String),
}

/// Adds tags, or overwrites their values.
#[derive(Clone, Debug, PartialEq)]
pub struct AddTags {
    /// The resource.
    pub resource: Tagged,
    /// At most 50 together with those that the resource has.
    pub tags: Vec<Tag>,
}

/// Removes tags.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoveTags {
    /// The resource.
    pub resource: Tagged,
    /// Keys without a tag are ignored.
    pub tag_keys: Vec<String>,
}

/// Registers an instance, or replaces the one with this id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterInstance {
    /// Id or ARN.
    pub service_id: String,
    /// 1 to 64 letters, digits or any of `_/:.@-`.
    pub instance_id: String,
    /// Identifies a retry; up to 64 characters.
    pub creator_request_id: Option<String>,
    /// All attributes, with address and port.
    pub attributes: BTreeMap<String, String>,
}

/// Removes an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeregisterInstance {
    /// Id or ARN.
    pub service_id: String,
    /// Up to 64 characters.
    pub instance_id: String,
}

/// Sets the health of an instance of a service with a custom health check.
///
/// Takes effect at once, where AWS waits half a minute: a report of health is worth most when it is new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateInstanceCustomHealthStatus {
    /// Id or ARN.
    pub service_id: String,
    /// Up to 64 characters.
    pub instance_id: String,
    /// The health.
    pub status: Health,
}

/// Records the result of the server's own health check. A result for an earlier registration of the instance
/// changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordHealth {
    /// The service.
    pub service_id: String,
    /// The instance.
    pub instance_id: String,
    /// The operation of the registration that was checked.
    pub operation_id: String,
    /// The health.
    pub health: Health,
}

/// A list of DNS records as `{"DnsRecords": […]}`, absent when empty.
mod dns_records {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct DnsConfigChange {
        dns_records: Vec<DnsRecord>,
    }

    pub(super) fn serialize<S: Serializer>(
        records: &[DnsRecord],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let change = (!records.is_empty()).then(|| DnsConfigChange {
            dns_records: records.to_vec(),
        });
        change.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<DnsRecord>, D::Error> {
        let change = Option::<DnsConfigChange>::deserialize(deserializer)?;
        Ok(change.map_or_else(Vec::new, |change| change.dns_records))
    }
}
