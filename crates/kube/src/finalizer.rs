//! The finalizers of the seven kinds, by the names of AWS's controller, so that either controller can finish what the
//! other began (`facts/controller.md` §1).

use crate::crd::Resource;

/// Held while the object's resource may exist in the App Mesh API.
pub const APP_MESH: &str = "finalizers.appmesh.k8s.aws/aws-appmesh-resources";
/// Held while pods of the virtual node may be registered in the Cloud Map API.
pub const CLOUD_MAP: &str = "finalizers.appmesh.k8s.aws/aws-cloudmap-resources";
/// Held while objects are members of the mesh.
pub const MESH_MEMBERS: &str = "finalizers.appmesh.k8s.aws/mesh-members";
/// Held while routes are members of the virtual gateway.
pub const VIRTUAL_GATEWAY_MEMBERS: &str = "finalizers.appmesh.k8s.aws/virtualgateway-members";

/// The finalizers that an object has from before its resource is created. None for a backend group, which has no
/// resource.
pub fn of(resource: &Resource) -> &'static [&'static str] {
    match resource {
        Resource::Mesh(_) => &[MESH_MEMBERS, APP_MESH],
        Resource::VirtualNode(node) if node.spec.cloud_map().is_some() => &[APP_MESH, CLOUD_MAP],
        Resource::VirtualGateway(_) => &[VIRTUAL_GATEWAY_MEMBERS, APP_MESH],
        Resource::VirtualNode(_)
        | Resource::VirtualRouter(_)
        | Resource::VirtualService(_)
        | Resource::GatewayRoute(_) => &[APP_MESH],
        Resource::BackendGroup(_) => &[],
    }
}
