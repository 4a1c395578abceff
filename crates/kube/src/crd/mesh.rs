//! `Mesh`: the boundary inside which names are shared.

use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};
use super::resource::kind;
use super::status::MeshStatus;
use crate::selector;

kind!(
    /// A mesh. Namespaces that its selector selects are inside.
    Mesh,
    MeshSpec,
    MeshStatus,
    ClusterResourceScope
);

/// What a mesh is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshSpec {
    /// Name in the mesh API; by default the object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// Which namespaces are inside. Absent selects none, `{}` selects all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// What happens to traffic that nobody modelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_filter: Option<EgressFilter>,
    /// Account that owns the mesh, when it is shared from another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_owner: Option<String>,
    /// Address family preference of every node in the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_service_discovery: Option<MeshServiceDiscovery>,
}

/// What happens to traffic that nobody modelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressFilter {
    /// Whether it passes.
    #[serde(rename = "type")]
    pub filter_type: EgressFilterType,
}

/// Whether unmodelled traffic passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EgressFilterType {
    /// It passes.
    #[serde(rename = "ALLOW_ALL")]
    AllowAll,
    /// It is dropped.
    #[serde(rename = "DROP_ALL")]
    DropAll,
}

/// Address family preference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshServiceDiscovery {
    /// The family that addresses are taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_preference: Option<IpPreference>,
}

/// The family that addresses are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpPreference {
    /// Only IPv6.
    #[serde(rename = "IPv6_ONLY")]
    Ipv6Only,
    /// Only IPv4.
    #[serde(rename = "IPv4_ONLY")]
    Ipv4Only,
}

impl Check for MeshSpec {
    fn check(&self, checker: &mut Checker) {
        selector::check(
            checker,
            "namespaceSelector",
            self.namespace_selector.as_ref(),
        );
        if let Some(owner) = &self.mesh_owner
            && (owner.len() != 12 || !owner.bytes().all(|byte| byte.is_ascii_digit()))
        {
            checker.deny(
                "meshOwner",
                format!("{owner:?} is not an account id; it must be 12 digits, in quotes"),
            );
        }
    }
}
