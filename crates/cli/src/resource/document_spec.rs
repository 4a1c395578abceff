//! The `spec` of a document: the desired state of a resource.
//!
//! Specs of the mesh are those of the App Mesh API. Those of the registry have the members of the Cloud Map API's
//! inputs, with the same names. A spec is complete: members that it leaves out are removed.

use crate::resource::kind::Kind;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use tombolo_kube::{FieldPath, Violation};
use tombolo_model::{
    appmesh::{self, Spec},
    cloudmap::{DnsConfig, HealthCheckConfig, NamespaceType, RoutingPolicy},
};

/// The spec of a resource of any kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DocumentSpec {
    Mesh(Spec),
    Namespace(NamespaceSpec),
    Service(Box<ServiceSpec>),
    Instance(InstanceSpec),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NamespaceSpec {
    #[serde(rename = "Type")]
    pub(crate) kind: NamespaceType,
    /// Required to create a private namespace; no API call returns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vpc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    dns_properties: DnsProperties,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DnsProperties {
    #[serde(rename = "SOA")]
    soa: Soa,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Soa {
    #[serde(rename = "TTL")]
    ttl: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns_config: Option<DnsConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health_check_config: Option<HealthCheckConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health_check_custom_config: Option<CustomHealthCheck>,
    #[serde(rename = "Type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<ServiceType>,
    /// Attributes of the service itself; kept as they are when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<BTreeMap<String, String>>,
}

/// The discovery type of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ServiceType {
    Http,
    DnsHttp,
    Dns,
}

/// The threshold is deprecated and always 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CustomHealthCheck {
    #[serde(default = "one")]
    failure_threshold: u32,
}

/// An empty description counts as absent.
pub(crate) fn not_empty(description: Option<String>) -> Option<String> {
    description.filter(|text| !text.is_empty())
}

fn one() -> u32 {
    1
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InstanceSpec {
    pub(crate) attributes: BTreeMap<String, String>,
}

impl NamespaceSpec {
    pub(crate) fn new(
        kind: NamespaceType,
        description: Option<String>,
        soa_ttl: Option<u32>,
    ) -> Self {
        let properties = |ttl| Properties {
            dns_properties: DnsProperties { soa: Soa { ttl } },
        };
        Self {
            kind,
            vpc: None,
            description,
            properties: soa_ttl.map(properties),
        }
    }

    pub(crate) fn soa_ttl(&self) -> Option<u32> {
        let properties = self.properties.as_ref()?;
        Some(properties.dns_properties.soa.ttl)
    }

    /// Whether the namespace is private and has no VPC, so that it cannot be created.
    pub(crate) fn is_missing_vpc(&self) -> bool {
        self.kind == NamespaceType::DNS_PRIVATE && self.vpc.is_none()
    }

    /// The spec after applying `self` to `now`: the API does not return the VPC, and an absent TTL is kept.
    pub(crate) fn merged_over(&self, now: &Self) -> Self {
        Self {
            vpc: now.vpc.clone(),
            description: not_empty(self.description.clone()),
            properties: self.properties.clone().or_else(|| now.properties.clone()),
            ..self.clone()
        }
    }
}

impl ServiceSpec {
    /// The spec with the API's defaults.
    fn with_defaults(mut self) -> Self {
        self.description = not_empty(self.description);
        match &mut self.dns_config {
            Some(config) => {
                let policy = &mut config.routing_policy;
                *policy = Some(policy.unwrap_or(RoutingPolicy::MultiValue));
                self.kind = None;
            }
            None => self.kind = Some(ServiceType::Http),
        }
        self
    }

    /// The spec after applying `self` to `now`: absent attributes are kept.
    pub(crate) fn merged_over(&self, now: &Self) -> Self {
        let mut merged = self.clone().with_defaults();
        if merged.attributes.is_none() {
            merged.attributes.clone_from(&now.attributes);
        }
        merged.attributes = merged
            .attributes
            .filter(|attributes| !attributes.is_empty());
        merged
    }

    /// Whether instances are only discovered by the API, without DNS.
    pub(crate) fn is_http_only(&self) -> bool {
        self.kind == Some(ServiceType::Http)
    }

    pub(crate) fn custom_health_check() -> CustomHealthCheck {
        CustomHealthCheck {
            failure_threshold: one(),
        }
    }
}

impl DocumentSpec {
    /// Reads a spec. Unknown members are rejected, because the API would drop them.
    pub(crate) fn read(kind: Kind, value: &Value) -> Result<Self, Vec<Violation>> {
        let mut unknown = Vec::new();
        let content =
            Self::decode(kind, value, &mut unknown).map_err(|violation| vec![violation])?;
        if unknown.is_empty() {
            return Ok(content);
        }
        let title = kind.title();
        let message =
            format!("a {title} has no such field; check its spelling and its indentation");
        let violation = |field| Violation::new(field, message.as_str());
        Err(unknown.into_iter().map(violation).collect())
    }

    fn decode(kind: Kind, value: &Value, unknown: &mut Vec<FieldPath>) -> Result<Self, Violation> {
        Ok(match kind {
            Kind::Namespace => Self::Namespace(decode(value, unknown)?),
            Kind::Service => Self::Service(decode(value, unknown)?),
            Kind::Instance => Self::Instance(decode(value, unknown)?),
            Kind::Mesh(kind) => Self::Mesh(match kind {
                appmesh::Kind::Mesh => Spec::Mesh(decode(value, unknown)?),
                appmesh::Kind::VirtualNode => Spec::VirtualNode(decode(value, unknown)?),
                appmesh::Kind::VirtualRouter => Spec::VirtualRouter(decode(value, unknown)?),
                appmesh::Kind::Route => Spec::Route(decode(value, unknown)?),
                appmesh::Kind::VirtualService => Spec::VirtualService(decode(value, unknown)?),
                appmesh::Kind::VirtualGateway => Spec::VirtualGateway(decode(value, unknown)?),
                appmesh::Kind::GatewayRoute => Spec::GatewayRoute(decode(value, unknown)?),
            }),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let json = match self {
            Self::Mesh(spec) => return spec.to_json(),
            Self::Namespace(spec) => serde_json::to_value(spec),
            Self::Service(spec) => serde_json::to_value(spec),
            Self::Instance(spec) => serde_json::to_value(spec),
        };
        json.expect("specs have string keys only")
    }

    /// The spec of the resource after applying `self`; `now` is absent for a new resource.
    pub(crate) fn merged_over(&self, now: Option<&Self>) -> Self {
        match (self, now) {
            (Self::Namespace(spec), Some(Self::Namespace(now))) => {
                Self::Namespace(spec.merged_over(now))
            }
            (Self::Service(spec), Some(Self::Service(now))) => {
                Self::Service(Box::new(spec.merged_over(now)))
            }
            (Self::Service(spec), _) => {
                Self::Service(Box::new(spec.merged_over(&ServiceSpec::default())))
            }
            _ => self.clone(),
        }
    }
}

fn decode<T: DeserializeOwned>(
    value: &Value,
    unknown: &mut Vec<FieldPath>,
) -> Result<T, Violation> {
    let decoded = tombolo_document::decode(value);
    let decoded = decoded.map_err(|error| Violation::new(error.field, readable(&error.message)))?;
    unknown.extend(decoded.unknown);
    Ok(decoded.value)
}

/// A decoder's message in YAML terms.
fn readable(message: &str) -> String {
    let is_unquoted = (message.starts_with("invalid type: integer")
        || message.starts_with("invalid type: boolean")
        || message.starts_with("invalid type: floating point"))
        && message.contains("expected a string");
    let message = message
        .replace("a sequence", "a list")
        .replace("expected u16", "expected a whole number up to 65535")
        .replace("expected u32", "expected a whole number")
        .replace("expected u64", "expected a whole number");
    if is_unquoted {
        format!("{message}; put it in quotes")
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn denied(kind: Kind, value: Value) -> (String, String) {
        let mut violations = DocumentSpec::read(kind, &value).expect_err("not a spec");
        let violation = violations.remove(0);
        (violation.field.to_string(), violation.message)
    }

    #[test]
    fn a_member_that_nothing_reads_is_refused_where_it_stands() {
        let node = Kind::Mesh(appmesh::Kind::VirtualNode);
        let spec = json!({"listeners": [
            {"portMapping": {"port": 80, "protocol": "http"}},
            {"portMapping": {"port": 81, "protocol": "http"}, "timeuot": {"x": 1}},
        ]});
        let (field, message) = denied(node, spec);
        assert_eq!(field, "listeners[1].timeuot");
        assert!(
            message.contains("VirtualNode has no such field"),
            "{message}"
        );
        let (field, _) = denied(Kind::Service, json!({"Descripton": "x"}));
        assert_eq!(field, "Descripton");
        let empty = json!({"listeners": [], "backends": null});
        DocumentSpec::read(node, &empty).expect("nothing is lost");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_by_its_path() {
        let node = Kind::Mesh(appmesh::Kind::VirtualNode);
        let spec = json!({"listeners": [{"portMapping": {"port": "x", "protocol": "http"}}]});
        let (field, _) = denied(node, spec);
        assert_eq!(field, "listeners[0].portMapping.port");
        let (field, message) = denied(
            Kind::Instance,
            json!({"Attributes": {"AWS_INSTANCE_PORT": 8080}}),
        );
        assert_eq!(field, "Attributes.AWS_INSTANCE_PORT");
        assert!(message.ends_with("put it in quotes"), "{message}");
    }

    #[test]
    fn what_the_api_fills_in_makes_no_difference() {
        let read = |value: Value| DocumentSpec::read(Kind::Service, &value).expect("a spec");
        let records = json!([{"Type": "A", "TTL": 5}]);
        let short = read(json!({"DnsConfig": {"DnsRecords": records}}));
        let long = read(json!({
            "DnsConfig": {"RoutingPolicy": "MULTIVALUE", "DnsRecords": records},
            "Type": "DNS_HTTP", "Attributes": {},
        }));
        assert_eq!(short.merged_over(None), long.merged_over(Some(&short)));
        let silent = read(json!({"Description": ""}));
        assert_eq!(silent.merged_over(None), read(json!({})).merged_over(None));
        let http =
            read(json!({"Type": "HTTP", "HealthCheckCustomConfig": {"FailureThreshold": 1}}));
        let bare = read(json!({"HealthCheckCustomConfig": {}}));
        assert_eq!(bare.merged_over(None), http.merged_over(None));
    }
}
