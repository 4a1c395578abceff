//! The names of kinds in the REST API: in paths, and as members of inputs and outputs.

use tombolo_model::appmesh::Kind;

/// The path segment of a collection, and the member with a list: `virtualNodes`.
pub(crate) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Mesh => "meshes",
        Kind::VirtualNode => "virtualNodes",
        Kind::VirtualRouter => "virtualRouters",
        Kind::Route => "routes",
        Kind::VirtualService => "virtualServices",
        Kind::VirtualGateway => "virtualGateways",
        Kind::GatewayRoute => "gatewayRoutes",
    }
}

/// The member with a resource's own name: `virtualNodeName`.
pub(crate) fn name_member(kind: Kind) -> &'static str {
    match kind {
        Kind::Mesh => "meshName",
        Kind::VirtualNode => "virtualNodeName",
        Kind::VirtualRouter => "virtualRouterName",
        Kind::Route => "routeName",
        Kind::VirtualService => "virtualServiceName",
        Kind::VirtualGateway => "virtualGatewayName",
        Kind::GatewayRoute => "gatewayRouteName",
    }
}

/// The kind of a collection that is directly in a mesh, by its path segment.
pub(crate) fn member_kind(plural: &str) -> Option<Kind> {
    [
        Kind::VirtualNode,
        Kind::VirtualRouter,
        Kind::VirtualService,
        Kind::VirtualGateway,
    ]
    .into_iter()
    .find(|kind| self::plural(*kind) == plural)
}
