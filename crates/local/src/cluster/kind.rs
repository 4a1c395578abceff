//! The kinds that a local cluster knows.

use std::fmt;

use k8s_openapi::Resource;
use serde::{Deserialize, Serialize};
use tombolo_kube::crd;

/// A kind of object. The order is the order in which a set of objects is applied; deletion goes backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are Kubernetes' own")]
pub enum Kind {
    Namespace,
    ConfigMap,
    Secret,
    Mesh,
    VirtualGateway,
    VirtualNode,
    VirtualRouter,
    VirtualService,
    GatewayRoute,
    BackendGroup,
    Service,
    Deployment,
    ReplicaSet,
    Pod,
}

/// A kind with its API version, its names as the command line takes them, and whether it lives in a namespace.
struct Row(
    Kind,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
);

const ROWS: &[Row] = &[
    Row(
        Kind::Namespace,
        "v1",
        "Namespace",
        "namespaces",
        "ns",
        false,
    ),
    Row(Kind::ConfigMap, "v1", "ConfigMap", "configmaps", "cm", true),
    Row(Kind::Secret, "v1", "Secret", "secrets", "", true),
    Row(Kind::Service, "v1", "Service", "services", "svc", true),
    Row(Kind::Pod, "v1", "Pod", "pods", "po", true),
    Row(
        Kind::Deployment,
        "apps/v1",
        "Deployment",
        "deployments",
        "deploy",
        true,
    ),
    Row(
        Kind::ReplicaSet,
        "apps/v1",
        "ReplicaSet",
        "replicasets",
        "rs",
        true,
    ),
    Row(Kind::Mesh, crd::API_VERSION, "Mesh", "meshes", "", false),
    Row(
        Kind::VirtualNode,
        crd::API_VERSION,
        "VirtualNode",
        "virtualnodes",
        "vn",
        true,
    ),
    Row(
        Kind::VirtualRouter,
        crd::API_VERSION,
        "VirtualRouter",
        "virtualrouters",
        "vr",
        true,
    ),
    Row(
        Kind::VirtualService,
        crd::API_VERSION,
        "VirtualService",
        "virtualservices",
        "vs",
        true,
    ),
    Row(
        Kind::VirtualGateway,
        crd::API_VERSION,
        "VirtualGateway",
        "virtualgateways",
        "vg",
        true,
    ),
    Row(
        Kind::GatewayRoute,
        crd::API_VERSION,
        "GatewayRoute",
        "gatewayroutes",
        "gr",
        true,
    ),
    Row(
        Kind::BackendGroup,
        crd::API_VERSION,
        "BackendGroup",
        "backendgroups",
        "bg",
        true,
    ),
];

impl Kind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.0 == self).unwrap_or(&ROWS[0])
    }

    /// The kind of a Kubernetes type.
    pub fn of<T: Resource>() -> Option<Self> {
        Self::read(T::API_VERSION, T::KIND)
    }

    /// The kind that a manifest names.
    pub fn read(api_version: &str, kind: &str) -> Option<Self> {
        ROWS.iter()
            .find(|row| row.1 == api_version && row.2 == kind)
            .map(|row| row.0)
    }

    /// The kind that a person types: `pod`, `pods`, `po`, `Pod`, `pods.v1`, `virtualnodes.appmesh.k8s.aws`.
    pub fn typed(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let word = lower.split('.').next().unwrap_or_default();
        let mut rows = ROWS.iter();
        rows.find(|row| {
            word == row.3
                || word == row.2.to_ascii_lowercase()
                || (word == row.4 && !word.is_empty())
        })
        .map(|row| row.0)
    }

    /// `apiVersion` in manifests.
    pub fn api_version(self) -> &'static str {
        self.row().1
    }

    /// `kind` in manifests.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// The name of a list: `pods`.
    pub fn plural(self) -> &'static str {
        self.row().3
    }

    /// How `kubectl` says one of them: `pod`, `deployment.apps`, `virtualnode.appmesh.k8s.aws`.
    pub fn singular(self) -> String {
        let name = self.name().to_ascii_lowercase();
        match self.api_version().split_once('/') {
            Some((group, _)) => format!("{name}.{group}"),
            None => name,
        }
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(self) -> bool {
        self.row().5
    }

    /// Whether it is one of the mesh kinds.
    pub fn mesh(self) -> bool {
        self.api_version() == crd::API_VERSION
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_may_type_singular_plural_short_and_qualified_names() {
        for text in ["po", "pod", "pods", "Pod"] {
            assert_eq!(Kind::typed(text), Some(Kind::Pod));
        }
        assert_eq!(Kind::typed("vn"), Some(Kind::VirtualNode));
        assert_eq!(Kind::typed("vs"), Some(Kind::VirtualService));
        assert_eq!(Kind::typed("deployments.apps"), Some(Kind::Deployment));
        assert_eq!(
            Kind::typed("VirtualNode.appmesh.k8s.aws"),
            Some(Kind::VirtualNode)
        );
        assert_eq!(Kind::typed(""), None);
        assert_eq!(Kind::Deployment.singular(), "deployment.apps");
    }

    #[test]
    fn every_mesh_kind_is_known() {
        for kind in crd::Kind::ALL {
            assert!(Kind::read(crd::API_VERSION, kind.name()).is_some_and(Kind::mesh));
        }
    }
}
