//! The spec of a mesh.

use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// What applies to every node of a mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshSpec {
    /// What happens to traffic for names that the mesh does not know. Absent means `DROP_ALL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_filter: Option<EgressFilter>,
    /// Which address family is preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_discovery: Option<MeshServiceDiscovery>,
}

/// What happens to traffic for names that the mesh does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressFilter {
    /// Whether it passes or is refused.
    #[serde(rename = "type")]
    pub kind: EgressFilterType,
}

/// See [`EgressFilter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EgressFilterType {
    /// It passes through to where it was going.
    AllowAll,
    /// It is refused.
    DropAll,
}

/// Address-family preference of a mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshServiceDiscovery {
    /// Absent means IPv6, then IPv4, in DNS, and IPv4 elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_preference: Option<IpPreference>,
}

/// Which address family is used where both exist.
#[allow(non_camel_case_types, missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpPreference {
    IPv6_PREFERRED,
    IPv4_PREFERRED,
    IPv4_ONLY,
    IPv6_ONLY,
}

impl Validate for MeshSpec {
    fn validate(&self, validator: &mut Validator) {
        validator.field("serviceDiscovery", &self.service_discovery);
    }
}

impl Validate for MeshServiceDiscovery {
    fn validate(&self, validator: &mut Validator) {
        let preferred = [IpPreference::IPv4_PREFERRED, IpPreference::IPv6_PREFERRED];
        if validator.is_kubernetes() && self.ip_preference.is_some_and(|it| preferred.contains(&it))
        {
            validator.deny("ipPreference", "must be IPv4_ONLY or IPv6_ONLY");
        }
    }
}
