//! The spec of a virtual service.

use super::declare::{spec, union};
use crate::appmesh::Kind;

spec! {
    /// The spec of a virtual service: the provider of a name that applications call.
    pub struct VirtualServiceSpec<R>: Validate {
        /// The provider; absent means that calls are refused.
        provider: Option<R::Union<Provider<R>>>,
    }
}

union! {
    /// The provider of a virtual service.
    pub enum Provider<R>: Validate {
        /// One node.
        VirtualNode(R::VirtualNodeProvider) as "virtualNode",
        /// The routes of a router.
        VirtualRouter(R::VirtualRouterProvider) as "virtualRouter",
    }
}

spec! {
    /// A virtual node that provides a virtual service.
    pub struct VirtualNodeProvider: Validate {
        /// 1 to 255 characters.
        virtual_node_name: String [1..=255],
    }

    /// A virtual router that provides a virtual service.
    pub struct VirtualRouterProvider: Validate {
        /// 1 to 255 characters.
        virtual_router_name: String [1..=255],
    }
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
