//! The kinds that a local cluster stores.

use std::fmt;

use k8s_openapi::Resource;
use serde::{Deserialize, Serialize};
use tombolo_kube::crd;

/// The names of a kind, and whether its objects live in a namespace.
struct Info {
    kind: Kind,
    api_version: &'static str,
    name: &'static str,
    plural: &'static str,
    /// The abbreviation that kubectl takes; empty where there is none.
    short: &'static str,
    is_namespaced: bool,
}

macro_rules! kinds {
    ($($kind:ident $version:expr, $plural:literal, $short:literal, $namespaced:literal;)+) => {
        /// A kind of object, in the order in which a set of objects is applied; deletion uses the reverse order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub(crate) enum Kind {
            $($kind,)+
        }

        const KINDS: &[Info] = &[
            $(Info {
                kind: Kind::$kind,
                api_version: $version,
                name: stringify!($kind),
                plural: $plural,
                short: $short,
                is_namespaced: $namespaced,
            },)+
        ];
    };
}

kinds! {
    Namespace       "v1",             "namespaces",      "ns",     false;
    ConfigMap       "v1",             "configmaps",      "cm",     true;
    Secret          "v1",             "secrets",         "",       true;
    Mesh            crd::API_VERSION, "meshes",          "",       false;
    VirtualGateway  crd::API_VERSION, "virtualgateways", "vg",     true;
    VirtualNode     crd::API_VERSION, "virtualnodes",    "vn",     true;
    VirtualRouter   crd::API_VERSION, "virtualrouters",  "vr",     true;
    VirtualService  crd::API_VERSION, "virtualservices", "vs",     true;
    GatewayRoute    crd::API_VERSION, "gatewayroutes",   "gr",     true;
    BackendGroup    crd::API_VERSION, "backendgroups",   "bg",     true;
    Service         "v1",             "services",        "svc",    true;
    Deployment      "apps/v1",        "deployments",     "deploy", true;
    ReplicaSet      "apps/v1",        "replicasets",     "rs",     true;
    Pod             "v1",             "pods",            "po",     true;
}

impl Kind {
    /// Every kind.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|info| info.kind)
    }

    fn info(self) -> &'static Info {
        &KINDS[self as usize]
    }

    fn find(matches: impl Fn(&Info) -> bool) -> Option<Self> {
        KINDS
            .iter()
            .find(|info| matches(info))
            .map(|info| info.kind)
    }

    /// The kind of a Kubernetes type.
    pub(crate) fn of<T: Resource>() -> Option<Self> {
        Self::read(T::API_VERSION, T::KIND)
    }

    /// The kind of a manifest's `apiVersion` and `kind`.
    pub(crate) fn read(api_version: &str, kind: &str) -> Option<Self> {
        Self::find(|info| info.api_version == api_version && info.name == kind)
    }

    /// The kind of a command-line argument: `pod`, `pods`, `po`, `Pod`, `pods.v1`, `virtualnodes.appmesh.k8s.aws`.
    pub(crate) fn from_argument(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let word = lower.split('.').next().filter(|word| !word.is_empty())?;
        Self::find(|info| {
            [info.plural, info.short].contains(&word) || info.name.eq_ignore_ascii_case(word)
        })
    }

    /// `apiVersion` in manifests.
    pub(crate) fn api_version(self) -> &'static str {
        self.info().api_version
    }

    /// `kind` in manifests.
    pub(crate) fn name(self) -> &'static str {
        self.info().name
    }

    /// The name of a list: `pods`.
    pub(crate) fn plural(self) -> &'static str {
        self.info().plural
    }

    /// The name of one object as kubectl prints it: `pod`, `deployment.apps`, `virtualnode.appmesh.k8s.aws`.
    pub(crate) fn singular(self) -> String {
        let name = self.name().to_ascii_lowercase();
        match self.api_version().split_once('/') {
            Some((group, _)) => format!("{name}.{group}"),
            None => name,
        }
    }

    /// Whether objects live in a namespace.
    pub(crate) fn namespaced(self) -> bool {
        self.info().is_namespaced
    }

    /// Whether it is one of the mesh kinds.
    pub(crate) fn mesh(self) -> bool {
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
        let pod = ["po", "pod", "pods", "Pod"].map(|text| (text, Kind::Pod));
        let others = [
            ("vn", Kind::VirtualNode),
            ("vs", Kind::VirtualService),
            ("deployments.apps", Kind::Deployment),
            ("VirtualNode.appmesh.k8s.aws", Kind::VirtualNode),
        ];
        for (text, kind) in pod.into_iter().chain(others) {
            assert_eq!(Kind::from_argument(text), Some(kind), "{text}");
        }
        assert_eq!(Kind::from_argument(""), None);
        assert_eq!(Kind::Deployment.singular(), "deployment.apps");
    }

    #[test]
    fn every_mesh_kind_is_known() {
        for kind in crd::Kind::ALL {
            assert!(Kind::read(crd::API_VERSION, kind.name()).is_some_and(Kind::mesh));
        }
    }
}
