//! `VirtualService`: the name that applications call.

use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};
use super::resource::kind;
use super::virtual_node::check_target;
use super::{MeshRef, Reference, VirtualServiceStatus};

kind!(
    /// A name that applications call, and who answers.
    VirtualService,
    VirtualServiceSpec,
    VirtualServiceStatus,
    NamespaceResourceScope
);

/// What a virtual service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceSpec {
    /// The name that applications call; by default `<name>.<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// Who answers; nobody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

/// Who answers for a virtual service: a node or a router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// A node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_node: Option<NodeProvider>,
    /// A router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_router: Option<RouterProvider>,
}

/// A node that answers: by reference or by ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProvider {
    /// A node of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_node_ref: Option<Reference>,
    /// One of another cluster or account.
    #[serde(
        rename = "virtualNodeARN",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub virtual_node_arn: Option<String>,
}

/// A router that answers: by reference or by ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterProvider {
    /// A router of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_router_ref: Option<Reference>,
    /// One of another cluster or account.
    #[serde(
        rename = "virtualRouterARN",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub virtual_router_arn: Option<String>,
}

impl Check for VirtualServiceSpec {
    fn check(&self, checker: &mut Checker) {
        let Some(provider) = &self.provider else {
            return;
        };
        checker.within("provider", |checker| {
            checker.exactly_one(&[
                ("virtualNode", provider.virtual_node.is_some()),
                ("virtualRouter", provider.virtual_router.is_some()),
            ]);
            if let Some(node) = &provider.virtual_node {
                checker.within("virtualNode", |checker| {
                    check_target(
                        checker,
                        "virtualNode",
                        node.virtual_node_ref.as_ref(),
                        node.virtual_node_arn.as_ref(),
                    );
                });
            }
            if let Some(router) = &provider.virtual_router {
                checker.within("virtualRouter", |checker| {
                    check_target(
                        checker,
                        "virtualRouter",
                        router.virtual_router_ref.as_ref(),
                        router.virtual_router_arn.as_ref(),
                    );
                });
            }
        });
    }
}
