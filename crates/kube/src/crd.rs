//! The seven kinds of `appmesh.k8s.aws/v1beta2`, with all fields and the bounds of their schema.
//!
//! Fields that a kind shares with the mesh API have the model's own types, in the form [`Refs`]; this module has the
//! fields that only Kubernetes has, and the references between objects.
//!
//! [`Resource`] is any one of the kinds.

mod backend_group;
mod definition;
mod gateway_route;
mod mesh;
mod object;
mod one_of;
mod record;
mod references;
mod virtual_gateway;
mod virtual_node;
mod virtual_router;
mod virtual_service;

pub use backend_group::{BackendGroup, BackendGroupSpec};
pub use definition::{definition, definitions_yaml};
pub use gateway_route::{GatewayRoute, GatewayRouteSpec};
pub use mesh::{Mesh, MeshSpec};
pub use object::{Kind, MeshRef, Object, Resource, VirtualGatewayRef};
pub use one_of::OneOf;
pub use references::{
    AcmCertificate, AcmTrust, GatewayRouteVirtualService, NamedReference, NoIpPreference,
    Reference, Refs, VirtualNodeProvider, VirtualRouterProvider, VirtualServiceBackend,
    WeightedTarget,
};
pub use virtual_gateway::{VirtualGateway, VirtualGatewaySpec};
pub use virtual_node::{VirtualNode, VirtualNodeSpec};
pub use virtual_router::{Route, VirtualRouter, VirtualRouterSpec};
pub use virtual_service::{VirtualService, VirtualServiceSpec};

/// The API group of the seven kinds.
pub const GROUP: &str = "appmesh.k8s.aws";
/// The only supported version; see [`crate::manifest`] for the errors of other versions.
pub const VERSION: &str = "v1beta2";
/// Group and version as manifests write them.
pub const API_VERSION: &str = "appmesh.k8s.aws/v1beta2";
