//! Resources of Cloud Map: namespaces, services, instances, operations (facts/cloudmap-api.md).

pub mod attributes;

pub use attributes::Attributes;

use crate::{Memo, Timestamp, appmesh::Tag, string_enum::string_enum};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeMap, sync::Arc};

string_enum! {
    /// The type of a namespace, which determines how its names resolve.
    #[derive(Default)]
    #[allow(non_camel_case_types)]
    pub enum NamespaceType {
        /// Names resolve by DNS for every client.
        DNS_PUBLIC = "DNS_PUBLIC",
        /// Names resolve by DNS for clients in the networks of its VPC.
        DNS_PRIVATE = "DNS_PRIVATE",
        /// Instances are found by `DiscoverInstances` only.
        #[default]
        HTTP = "HTTP",
    }
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    /// `ns-` and 16 characters.
    pub id: Arc<str>,
    /// The name as given.
    pub name: Arc<str>,
    /// The name that discovery uses.
    pub http_name: Arc<str>,
    /// The type.
    pub kind: NamespaceType,
    /// The VPC of a private namespace.
    pub vpc: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// The id of the hosted zone of a DNS namespace.
    pub hosted_zone_id: Option<String>,
    /// The TTL of negative answers in seconds, if configured.
    pub soa_ttl: Option<u32>,
    /// The token of the creation.
    pub creator_request_id: Option<String>,
    /// The time of its creation.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The operation of the last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Arc<str>>,
}

string_enum! {
    /// The types of DNS records of a service.
    #[derive(Hash, PartialOrd, Ord)]
    #[allow(missing_docs)]
    pub enum RecordType {
        SRV = "SRV",
        A = "A",
        AAAA = "AAAA",
        CNAME = "CNAME",
    }
}

/// A DNS record of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// The type.
    #[serde(rename = "Type")]
    pub kind: RecordType,
    /// The TTL in seconds.
    #[serde(rename = "TTL")]
    pub ttl: u32,
}

string_enum! {
    /// The number of instances in a DNS answer.
    pub enum RoutingPolicy {
        /// Up to eight healthy instances.
        MultiValue = "MULTIVALUE",
        /// One instance.
        Weighted = "WEIGHTED",
    }
}

/// The DNS records of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsConfig {
    /// Absent means `MULTIVALUE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_policy: Option<RoutingPolicy>,
    /// The records.
    pub dns_records: Vec<DnsRecord>,
}

/// A health check that the server makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthCheckConfig {
    /// `HTTP`, `HTTPS` or `TCP`.
    #[serde(rename = "Type")]
    pub kind: HealthCheckType,
    /// The path of the request; not with TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_path: Option<String>,
    /// The number of consecutive results that change the health, 1 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
}

string_enum! {
    /// See [`HealthCheckConfig`].
    #[allow(missing_docs)]
    pub enum HealthCheckType {
        HTTP = "HTTP",
        HTTPS = "HTTPS",
        TCP = "TCP",
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// `srv-` and 16 characters.
    pub id: Arc<str>,
    /// The name within its namespace.
    pub name: Arc<str>,
    /// The namespace.
    pub namespace_id: Arc<str>,
    /// Free text.
    pub description: Option<String>,
    /// The DNS records of its instances; absent for a service that is discovered by the API only.
    pub dns_config: Option<DnsConfig>,
    /// A health check that the server makes.
    pub health_check: Option<HealthCheckConfig>,
    /// Whether callers report the health of instances.
    pub custom_health_check: bool,
    /// The token of the creation.
    pub creator_request_id: Option<String>,
    /// The time of its creation.
    pub created_at: Timestamp,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Attributes of the service itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Service {
    /// Whether the service has a health check of either kind.
    pub fn is_health_checked(&self) -> bool {
        self.custom_health_check || self.health_check.is_some()
    }
}

string_enum! {
    /// Health of an instance.
    #[derive(Default)]
    pub enum Health {
        /// The health check of the instance succeeds.
        #[default]
        Healthy = "HEALTHY",
        /// The health check of the instance fails.
        Unhealthy = "UNHEALTHY",
    }
}

/// An instance of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The service.
    pub service_id: Arc<str>,
    /// 1 to 64 characters.
    pub id: Arc<str>,
    /// All attributes as registered, with address and port.
    pub attributes: Attributes,
    /// The token of the registration.
    pub creator_request_id: Option<String>,
    /// The operation of the registration.
    pub operation_id: String,
    /// The health; not used if the service has no health check.
    #[serde(default)]
    pub health: Health,
    /// The cached JSON of the instance in the output of `DiscoverInstances`.
    #[serde(skip)]
    pub discovery_json: Memo,
}

impl Instance {
    /// An attribute's value.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    /// Whether the instance has all of these attributes with these values.
    pub fn carries<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        pairs
            .into_iter()
            .all(|(key, value)| self.attribute(key) == Some(value))
    }
}

string_enum! {
    /// The type of an operation.
    #[allow(missing_docs)]
    pub enum OperationType {
        CreateNamespace = "CREATE_NAMESPACE",
        DeleteNamespace = "DELETE_NAMESPACE",
        UpdateNamespace = "UPDATE_NAMESPACE",
        UpdateService = "UPDATE_SERVICE",
        RegisterInstance = "REGISTER_INSTANCE",
        DeregisterInstance = "DEREGISTER_INSTANCE",
    }
}

/// An asynchronous request. Tombolo finishes each one at once, so every operation has succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// See [`crate::entropy::Entropy::operation_id`].
    pub id: Arc<str>,
    /// The type.
    pub kind: OperationType,
    /// The ids of the resources that it changes, by `NAMESPACE`, `SERVICE`, `INSTANCE`.
    pub targets: BTreeMap<String, String>,
    /// The time of its creation and of its end.
    pub at: Timestamp,
    /// The request, where a token identifies a retry of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<UpdateRequest>,
}

/// The request to update a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// The token of the call.
    pub token: String,
    /// The new description, when one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new TTL of the zone's SOA record, when one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soa_ttl: Option<u32>,
}

/// Tags as Cloud Map writes them: `[{"Key": "k", "Value": "v"}]`.
pub mod tag_list {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Tag", rename_all = "PascalCase")]
    struct CloudMapTag {
        key: String,
        value: String,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Item(#[serde(with = "CloudMapTag")] Tag);

    /// Writes the list.
    ///
    /// # Errors
    /// The error of the serializer.
    pub fn serialize<S: Serializer>(tags: &[Tag], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tags.iter().cloned().map(Item))
    }

    /// Reads the list.
    ///
    /// # Errors
    /// The error of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tag>, D::Error> {
        let items = Vec::<Item>::deserialize(deserializer)?;
        Ok(items.into_iter().map(|Item(tag)| tag).collect())
    }

    /// A list that is absent when empty.
    pub mod optional {
        use super::*;

        /// Writes the list, or null when it is empty.
        ///
        /// # Errors
        /// The error of the serializer.
        pub fn serialize<S: Serializer>(tags: &[Tag], serializer: S) -> Result<S::Ok, S::Error> {
            if tags.is_empty() {
                return serializer.serialize_none();
            }
            super::serialize(tags, serializer)
        }

        /// Reads the list; null is the empty list.
        ///
        /// # Errors
        /// The error of the deserializer.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Vec<Tag>, D::Error> {
            let items = Option::<Vec<Item>>::deserialize(deserializer)?;
            Ok(items.into_iter().flatten().map(|Item(tag)| tag).collect())
        }
    }
}

/// The TTL of a namespace's SOA record as Cloud Map writes it: `{"DnsProperties": {"SOA": {"TTL": 15}}}`.
pub(crate) mod soa_ttl {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Properties {
        dns_properties: DnsProperties,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    struct DnsProperties {
        soa: Soa,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    struct Soa {
        ttl: u32,
    }

    pub(crate) fn serialize<S: Serializer>(
        ttl: &Option<u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let properties = ttl.map(|ttl| Properties {
            dns_properties: DnsProperties { soa: Soa { ttl } },
        });
        properties.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u32>, D::Error> {
        let properties = Option::<Properties>::deserialize(deserializer)?;
        Ok(properties.map(|properties| properties.dns_properties.soa.ttl))
    }
}
