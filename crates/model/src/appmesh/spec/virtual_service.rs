//! The spec of a virtual service.

use super::references::{Names, References, union};
use crate::{
    appmesh::Kind,
    validation::{Validate, Validator},
};
use serde::{Deserialize, Serialize};

/// What provides a name that applications call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct VirtualServiceSpec<R: References = Names> {
    /// Absent means that calls are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<R::Union<Provider<R>>>,
}

/// What provides a virtual service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub enum Provider<R: References = Names> {
    /// One node.
    VirtualNode(R::VirtualNodeProvider),
    /// The routes of a router.
    VirtualRouter(R::VirtualRouterProvider),
}

union!(Provider<R> { VirtualNode: "virtualNode", VirtualRouter: "virtualRouter" });

/// A provider that is one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualNodeProvider {
    /// 1 to 255 characters.
    pub virtual_node_name: String,
}

/// A provider that is a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualRouterProvider {
    /// 1 to 255 characters.
    pub virtual_router_name: String,
}

impl Provider {
    /// Kind and name of the providing resource.
    pub fn target(&self) -> (Kind, &str) {
        match self {
            Provider::VirtualNode(node) => (Kind::VirtualNode, &node.virtual_node_name),
            Provider::VirtualRouter(router) => (Kind::VirtualRouter, &router.virtual_router_name),
        }
    }
}

impl<R: References> Validate for VirtualServiceSpec<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("provider", &self.provider);
    }
}

impl Validate for VirtualNodeProvider {
    fn validate(&self, validator: &mut Validator) {
        validator.length("virtualNodeName", &self.virtual_node_name, 1, 255);
    }
}

impl Validate for VirtualRouterProvider {
    fn validate(&self, validator: &mut Validator) {
        validator.length("virtualRouterName", &self.virtual_router_name, 1, 255);
    }
}
