//! Converts admitted objects to resources of the mesh model.
//!
//! The specs of the kinds are the model's own types with references in them (see [`crate::crd::Refs`]). Here each
//! reference becomes a name of the mesh API; the other fields are the same types.

mod references;
#[cfg(test)]
mod tests;

use tombolo_model::appmesh::spec::virtual_node::{Backend, VirtualServiceBackend};
use tombolo_model::appmesh::spec::{Resolve, RouteSpec, VirtualNodeSpec};
use tombolo_model::appmesh::{Kind as ModelKind, ResourceKey, Spec};

use crate::cluster::ClusterObjects;
use crate::crd::{Resource, VirtualRouter};
use crate::{FieldPath, Violation};

pub use references::{ReferenceError, TargetProblem};

use references::Resolver;

/// The resources of the mesh model for one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The account that owns the mesh, when the Mesh object names one.
    pub mesh_owner: Option<String>,
    /// The resource of the object.
    pub resource: Item,
    /// The complete list of routes of a virtual router, by name. Empty for every other kind.
    pub routes: Vec<Item>,
}

/// A desired resource of the mesh model.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Mesh, kind, parent and name.
    pub key: ResourceKey,
    /// The spec, of the same kind as the key.
    pub spec: Spec,
}

/// The reason why an object cannot be converted now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The object has no name or no membership: it was not admitted.
    #[error("{field}: is not set; the object was not admitted")]
    NotAdmitted {
        /// The missing field.
        field: FieldPath,
    },
    /// A dangling reference. A missing target may be created later; see [`TargetProblem::Missing`].
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The spec breaks a rule that admission checks.
    #[error(transparent)]
    Spec(#[from] Violation),
}

impl ConvertError {
    /// The error as a violation of a field.
    pub fn violation(&self) -> Violation {
        match self {
            Self::NotAdmitted { field } => {
                Violation::new(field.clone(), "is not set; the object was not admitted")
            }
            Self::Reference(error) => Violation::new(error.field.clone(), error.message()),
            Self::Spec(violation) => violation.clone(),
        }
    }
}

/// Converts an admitted object. A backend group gives `None`: its services become backends of the nodes that refer to
/// it.
///
/// # Errors
/// The object was not admitted, or the target of a reference is missing, is in another mesh, or has an ARN of the
/// wrong type.
pub fn convert(
    resource: &Resource,
    objects: &ClusterObjects,
) -> Result<Option<Converted>, ConvertError> {
    let Some((key, mesh_owner)) = identify(resource, objects)? else {
        return Ok(None);
    };
    let resolver = Resolver::new(resource, objects);
    let spec = spec(resource, &resolver)?;
    let routes = match resource {
        Resource::VirtualRouter(router) => routes(router, &resolver)?,
        _ => Vec::new(),
    };
    let route = |(name, spec): (String, RouteSpec)| Item {
        key: ResourceKey::child(key.mesh.clone(), ModelKind::Route, key.name.clone(), name),
        spec: Spec::Route(Box::new(spec)),
    };
    let routes = routes.into_iter().map(route).collect();
    let Some(spec) = spec else {
        return Ok(None);
    };
    Ok(Some(Converted {
        mesh_owner,
        resource: Item { key, spec },
        routes,
    }))
}

/// The spec of an object in the mesh API; none for a backend group.
fn spec(resource: &Resource, resolver: &Resolver<'_>) -> Result<Option<Spec>, ConvertError> {
    let at = &mut FieldPath::from("spec");
    Ok(Some(match resource {
        Resource::Mesh(mesh) => Spec::Mesh(mesh.spec.to_model()),
        Resource::VirtualNode(node) => {
            let mut spec = node.spec.to_model().resolve(at, resolver)?;
            let groups = node.spec.backend_groups.as_deref().unwrap_or_default();
            add_backends(&mut spec, resolver.grouped_services(groups)?);
            Spec::VirtualNode(Box::new(spec))
        }
        Resource::VirtualRouter(router) => Spec::VirtualRouter(router.spec.to_model()),
        Resource::VirtualService(service) => {
            Spec::VirtualService(service.spec.to_model().resolve(at, resolver)?)
        }
        Resource::VirtualGateway(gateway) => {
            Spec::VirtualGateway(Box::new(gateway.spec.to_model().resolve(at, resolver)?))
        }
        Resource::GatewayRoute(route) => {
            Spec::GatewayRoute(Box::new(route.spec.to_model().resolve(at, resolver)?))
        }
        Resource::BackendGroup(_) => return Ok(None),
    }))
}

/// Adds the services of a node's groups that are not among its own backends.
fn add_backends(spec: &mut VirtualNodeSpec, services: Vec<String>) {
    for name in services {
        let is_new = |spec: &VirtualNodeSpec| {
            spec.backends()
                .all(|backend| backend.virtual_service_name != name)
        };
        if is_new(spec) {
            let backend = VirtualServiceBackend {
                virtual_service_name: name,
                client_policy: None,
            };
            let backends = spec.backends.get_or_insert_default();
            backends.push(Backend::VirtualService(backend));
        }
    }
}

/// The routes of a router with their specs, sorted by name so that the order is stable.
fn routes(
    router: &VirtualRouter,
    resolver: &Resolver<'_>,
) -> Result<Vec<(String, RouteSpec)>, ConvertError> {
    let at = FieldPath::from("spec.routes");
    let mut routes = Vec::new();
    for (index, route) in router.spec.routes().iter().enumerate() {
        let spec = route
            .to_model()
            .resolve(&mut at.clone().index(index), resolver)?;
        routes.push((route.name.clone(), spec));
    }
    routes.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(routes)
}

/// The identity of an admitted object in the mesh model, and the owner of its mesh. `Ok(None)` for a backend group.
/// Unlike [`convert`] it needs no targets of references, so it also works for deletion.
///
/// # Errors
/// The object was not admitted, or its mesh or gateway does not exist.
pub fn key(
    resource: &Resource,
    objects: &ClusterObjects,
) -> Result<Option<ResourceKey>, ConvertError> {
    Ok(identify(resource, objects)?.map(|(key, _)| key))
}

type Identity = (ResourceKey, Option<String>);

fn identify(
    resource: &Resource,
    objects: &ClusterObjects,
) -> Result<Option<Identity>, ConvertError> {
    let Some(kind) = model_kind(resource) else {
        return Ok(None);
    };
    let not_admitted = |field: &str| ConvertError::NotAdmitted {
        field: field.into(),
    };
    let name = resource
        .aws_name()
        .ok_or_else(|| not_admitted("spec.awsName"))?;
    if let Resource::Mesh(mesh) = resource {
        return Ok(Some((
            ResourceKey::mesh(name),
            mesh.spec.mesh_owner.clone(),
        )));
    }
    let mesh_ref = resource
        .mesh_ref()
        .ok_or_else(|| not_admitted("spec.meshRef"))?;
    let mesh = references::mesh(mesh_ref, objects)?;
    let mesh_name = mesh.spec.aws_name.as_deref().unwrap_or_default();
    let key = if let Resource::GatewayRoute(route) = resource {
        let gateway = route.spec.virtual_gateway_ref.as_ref();
        let gateway = gateway.ok_or_else(|| not_admitted("spec.virtualGatewayRef"))?;
        let parent = references::gateway(gateway, resource.namespace(), objects)?;
        ResourceKey::child(mesh_name, kind, parent, name)
    } else {
        ResourceKey::new(mesh_name, kind, name)
    };
    Ok(Some((key, mesh.spec.mesh_owner.clone())))
}

/// The kind that the mesh API has for an object; none for a backend group.
fn model_kind(resource: &Resource) -> Option<ModelKind> {
    match resource {
        Resource::Mesh(_) => Some(ModelKind::Mesh),
        Resource::VirtualNode(_) => Some(ModelKind::VirtualNode),
        Resource::VirtualRouter(_) => Some(ModelKind::VirtualRouter),
        Resource::VirtualService(_) => Some(ModelKind::VirtualService),
        Resource::VirtualGateway(_) => Some(ModelKind::VirtualGateway),
        Resource::GatewayRoute(_) => Some(ModelKind::GatewayRoute),
        Resource::BackendGroup(_) => None,
    }
}
