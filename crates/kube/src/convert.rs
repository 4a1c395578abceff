//! Admitted objects to resources of the mesh model.
//!
//! The kinds mirror the mesh API but for three things: a few acronyms are spelt otherwise, references name
//! objects of the cluster where the API has names, and a router holds its routes. So the conversion goes over
//! JSON: an object is written out, those three things are replaced, and the model reads the rest in its own
//! shapes. A field that both sides learn needs no line here.

mod references;
mod spec;
#[cfg(test)]
mod tests;

use tombolo_model::appmesh::{Kind as ModelKind, ResourceKey, Spec};

use crate::cluster::ClusterObjects;
use crate::crd::Resource;
use crate::field::{Denial, FieldPath};

pub use references::ReferenceError;

use references::Resolver;

/// What an object asks of the mesh model.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The account that owns the mesh, when the Mesh object names one.
    pub mesh_owner: Option<String>,
    /// The resource itself.
    pub resource: Item,
    /// The routes of a virtual router, by name; all that it shall have. Empty for every other kind.
    pub routes: Vec<Item>,
}

/// A resource of the mesh model: create or update it to this spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Mesh, kind, parent and name.
    pub key: ResourceKey,
    /// Its spec; of the same kind as the key.
    pub spec: Spec,
}

/// Why an object cannot be converted now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The object has no name or no membership: it was not admitted.
    #[error("{field}: is not set; the object was not admitted")]
    NotAdmitted {
        /// What is missing.
        field: FieldPath,
    },
    /// A reference leads nowhere. When the target is missing it may still come; see
    /// [`ReferenceError::Missing`].
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The spec breaks a rule of the model.
    #[error(transparent)]
    Spec(Denial),
}

impl ConvertError {
    /// The error as a denial, which names a field.
    pub fn denial(&self) -> Denial {
        match self {
            Self::NotAdmitted { field } => {
                Denial::new(field.clone(), "is not set; the object was not admitted")
            }
            Self::Reference(error) => Denial::new(error.field().clone(), error.reason()),
            Self::Spec(denial) => denial.clone(),
        }
    }
}

/// Converts an admitted object. A backend group gives `None`: it lives on in the nodes that name it.
///
/// # Errors
/// The object was not admitted, or something it refers to is missing, is in another mesh, or is named by an ARN
/// of the wrong type.
pub fn convert(
    resource: &Resource,
    objects: &ClusterObjects,
) -> Result<Option<Converted>, ConvertError> {
    let Some((key, mesh_owner)) = identify(resource, objects)? else {
        return Ok(None);
    };
    let resolver = Resolver::new(resource, objects);
    let spec = spec::of_object(resource, key.kind, &resolver)?;
    let routes = match resource {
        Resource::VirtualRouter(router) => spec::of_routes(router, &resolver)?,
        _ => Vec::new(),
    };
    let route = |(name, spec): (String, Spec)| Item {
        key: ResourceKey::child(key.mesh.clone(), ModelKind::Route, key.name.clone(), name),
        spec,
    };
    let routes = routes.into_iter().map(route).collect();
    Ok(Some(Converted {
        mesh_owner,
        resource: Item { key, spec },
        routes,
    }))
}

/// Applies the model's own rules to an object alone, as if every reference led somewhere. Admission asks this, so
/// that whoever applies a manifest learns at once what the mesh API would refuse later.
///
/// # Errors
/// The first rule that the object breaks, or an ARN of the wrong type.
pub fn check(resource: &Resource) -> Result<(), ConvertError> {
    let Some(kind) = model_kind(resource) else {
        return Ok(());
    };
    let resolver = Resolver::believing(resource);
    spec::of_object(resource, kind, &resolver)?;
    if let Resource::VirtualRouter(router) = resource {
        spec::of_routes(router, &resolver)?;
    }
    Ok(())
}

/// The identity of an admitted object in the mesh model, and the owner of its mesh. `Ok(None)` for a backend
/// group. Unlike [`convert`] it needs no target of the object's references, so it serves deletion too.
///
/// # Errors
/// The object was not admitted, or its mesh or gateway is gone.
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
