//! Admitted objects to resources of the mesh model.
//!
//! The kinds mirror the mesh API but for three things: a few acronyms are spelt otherwise, references name
//! objects of the cluster where the API has names, and a router holds its routes. So the conversion goes over
//! JSON: an object is written out, those three things are replaced, and the model reads the rest in its own
//! shapes. A field that both sides learn needs no line here.

mod references;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tombolo_model::mesh::{Kind as ModelKind, ResourceKey, Spec};

use crate::cluster::ClusterObjects;
use crate::crd::{GatewayRoute, Resource, Route, VirtualNode, VirtualRouter, VirtualService};
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
    /// The model cannot read the spec.
    #[error("spec: {0}")]
    Spec(String),
}

impl ConvertError {
    /// The error as a denial, which names a field.
    pub fn denial(&self) -> Denial {
        match self {
            Self::NotAdmitted { field } => Denial::new(field.clone(), "is not set; the object was not admitted"),
            Self::Reference(error) => Denial::new(error.field().clone(), error.reason()),
            Self::Spec(message) => Denial::new("spec", message.clone()),
        }
    }
}

/// Converts an admitted object. A backend group gives `None`: it lives on in the nodes that name it.
///
/// # Errors
/// The object was not admitted, or something it refers to is missing, is in another mesh, or is named by an ARN
/// of the wrong type.
pub fn convert(resource: &Resource, objects: &ClusterObjects) -> Result<Option<Converted>, ConvertError> {
    let (key, mesh_owner) = match resource {
        Resource::BackendGroup(_) => return Ok(None),
        _ => identify(resource, objects)?,
    };
    let resolver = Resolver::new(resource, objects);
    let spec = match resource {
        Resource::Mesh(mesh) => written(&[
            ("egressFilter", &mesh.spec.egress_filter),
            ("serviceDiscovery", &mesh.spec.mesh_service_discovery),
        ]),
        Resource::VirtualNode(node) => virtual_node(node, &resolver)?,
        Resource::VirtualRouter(router) => written(&[("listeners", &router.spec.listeners)]),
        Resource::VirtualService(service) => virtual_service(service, &resolver)?,
        Resource::VirtualGateway(gateway) => {
            let mut spec = written(&[
                ("logging", &gateway.spec.logging),
                ("backendDefaults", &gateway.spec.backend_defaults),
            ]);
            // The API requires the list where the kind leaves it open.
            spec["listeners"] = written_one(&gateway.spec.listeners());
            spec
        }
        Resource::GatewayRoute(route) => gateway_route(route, &resolver)?,
        Resource::BackendGroup(_) => return Ok(None),
    };
    let routes = match resource {
        Resource::VirtualRouter(router) => routes(router, &key, &resolver)?,
        _ => Vec::new(),
    };
    Ok(Some(Converted { mesh_owner, resource: item(key, spec)?, routes }))
}

/// The identity of an admitted object in the mesh model, and the owner of its mesh. `Ok(None)` for a backend
/// group. Unlike [`convert`] it needs no target of the object's references, so it serves deletion too.
///
/// # Errors
/// The object was not admitted, or its mesh or gateway is gone.
pub fn key(resource: &Resource, objects: &ClusterObjects) -> Result<Option<ResourceKey>, ConvertError> {
    match resource {
        Resource::BackendGroup(_) => Ok(None),
        _ => identify(resource, objects).map(|(key, _)| Some(key)),
    }
}

fn identify(resource: &Resource, objects: &ClusterObjects) -> Result<(ResourceKey, Option<String>), ConvertError> {
    let not_admitted = |field: &str| ConvertError::NotAdmitted { field: field.into() };
    let name = resource.aws_name().ok_or_else(|| not_admitted("spec.awsName"))?;
    if let Resource::Mesh(mesh) = resource {
        return Ok((ResourceKey::mesh(name), mesh.spec.mesh_owner.clone()));
    }
    let mesh_ref = resource.mesh_ref().ok_or_else(|| not_admitted("spec.meshRef"))?;
    let mesh = references::mesh(mesh_ref, objects)?;
    let mesh_name = mesh.spec.aws_name.as_deref().unwrap_or_default();
    let kind = match resource {
        Resource::VirtualNode(_) => ModelKind::VirtualNode,
        Resource::VirtualRouter(_) => ModelKind::VirtualRouter,
        Resource::VirtualService(_) => ModelKind::VirtualService,
        Resource::VirtualGateway(_) => ModelKind::VirtualGateway,
        Resource::GatewayRoute(_) | Resource::Mesh(_) | Resource::BackendGroup(_) => ModelKind::GatewayRoute,
    };
    let key = if let Resource::GatewayRoute(route) = resource {
        let gateway = route.spec.virtual_gateway_ref.as_ref();
        let gateway = gateway.ok_or_else(|| not_admitted("spec.virtualGatewayRef"))?;
        let parent = references::gateway(gateway, resource.namespace(), objects)?;
        ResourceKey::child(mesh_name, kind, parent, name)
    } else {
        ResourceKey::new(mesh_name, kind, name)
    };
    Ok((key, mesh.spec.mesh_owner.clone()))
}

fn virtual_node(node: &VirtualNode, resolver: &Resolver<'_>) -> Result<Value, ConvertError> {
    let mut spec = written(&[
        ("listeners", &node.spec.listeners),
        ("serviceDiscovery", &node.spec.service_discovery),
        ("backendDefaults", &node.spec.backend_defaults),
        ("logging", &node.spec.logging),
    ]);
    let mut backends = Vec::new();
    let mut names = Vec::new();
    for (index, backend) in node.spec.backends.iter().flatten().enumerate() {
        let service = &backend.virtual_service;
        let at = FieldPath::from("spec.backends").index(index).field("virtualService");
        let name = resolver.virtual_service(
            &at,
            service.virtual_service_ref.as_ref(),
            service.virtual_service_arn.as_deref(),
        )?;
        let mut written = written(&[("clientPolicy", &service.client_policy)]);
        written["virtualServiceName"] = name.clone().into();
        backends.push(json!({ "virtualService": written }));
        names.push(name);
    }
    for name in resolver.grouped_services(node.spec.backend_groups.as_deref().unwrap_or_default())? {
        if !names.contains(&name) {
            backends.push(json!({ "virtualService": { "virtualServiceName": name } }));
            names.push(name);
        }
    }
    if node.spec.backends.is_some() || !backends.is_empty() {
        spec["backends"] = Value::Array(backends);
    }
    Ok(spec)
}

fn virtual_service(service: &VirtualService, resolver: &Resolver<'_>) -> Result<Value, ConvertError> {
    let Some(provider) = &service.spec.provider else { return Ok(json!({})) };
    let at = FieldPath::from("spec.provider");
    if let Some(node) = &provider.virtual_node {
        let name = resolver.virtual_node(
            &at.field("virtualNode"),
            node.virtual_node_ref.as_ref(),
            node.virtual_node_arn.as_deref(),
        )?;
        return Ok(json!({ "provider": { "virtualNode": { "virtualNodeName": name } } }));
    }
    if let Some(router) = &provider.virtual_router {
        let name = resolver.virtual_router(
            &at.field("virtualRouter"),
            router.virtual_router_ref.as_ref(),
            router.virtual_router_arn.as_deref(),
        )?;
        return Ok(json!({ "provider": { "virtualRouter": { "virtualRouterName": name } } }));
    }
    Ok(json!({}))
}

/// Sorted by name, so that one router always gives one list.
fn routes(router: &VirtualRouter, parent: &ResourceKey, resolver: &Resolver<'_>) -> Result<Vec<Item>, ConvertError> {
    let mut items = Vec::new();
    for (index, route) in router.spec.routes().iter().enumerate() {
        let at = FieldPath::from("spec.routes").index(index);
        let key =
            ResourceKey::child(parent.mesh.clone(), ModelKind::Route, parent.name.clone(), route.name.as_str());
        items.push(item(key, route_spec(route, &at, resolver)?)?);
    }
    items.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(items)
}

fn route_spec(route: &Route, at: &FieldPath, resolver: &Resolver<'_>) -> Result<Value, ConvertError> {
    let mut spec = written_one(route);
    if let Some(members) = spec.as_object_mut() {
        members.remove("name");
    }
    let actions = [
        ("grpcRoute", route.grpc_route.as_ref().map(|route| &route.action)),
        ("httpRoute", route.http_route.as_ref().map(|route| &route.action)),
        ("http2Route", route.http2_route.as_ref().map(|route| &route.action)),
        ("tcpRoute", route.tcp_route.as_ref().map(|route| &route.action)),
    ];
    for (member, action) in actions {
        let Some(action) = action else { continue };
        let at = at.clone().field(member).field("action").field("weightedTargets");
        let mut targets = Vec::new();
        for (index, target) in action.weighted_targets.iter().enumerate() {
            let name = resolver.virtual_node(
                &at.clone().index(index),
                target.virtual_node_ref.as_ref(),
                target.virtual_node_arn.as_deref(),
            )?;
            let mut written = written(&[("port", &target.port)]);
            written["virtualNode"] = name.into();
            written["weight"] = target.weight.into();
            targets.push(written);
        }
        spec[member]["action"]["weightedTargets"] = Value::Array(targets);
    }
    Ok(spec)
}

fn gateway_route(route: &GatewayRoute, resolver: &Resolver<'_>) -> Result<Value, ConvertError> {
    let mut spec = written(&[
        ("priority", &route.spec.priority),
        ("grpcRoute", &route.spec.grpc_route),
        ("httpRoute", &route.spec.http_route),
        ("http2Route", &route.spec.http2_route),
    ]);
    let targets = [
        ("grpcRoute", route.spec.grpc_route.as_ref().map(|route| &route.action.target)),
        ("httpRoute", route.spec.http_route.as_ref().map(|route| &route.action.target)),
        ("http2Route", route.spec.http2_route.as_ref().map(|route| &route.action.target)),
    ];
    for (member, target) in targets {
        let Some(target) = target else { continue };
        let at = FieldPath::from("spec").field(member).field("action").field("target").field("virtualService");
        let service = &target.virtual_service;
        let name = resolver.virtual_service(
            &at,
            service.virtual_service_ref.as_ref(),
            service.virtual_service_arn.as_deref(),
        )?;
        spec[member]["action"]["target"]["virtualService"] = json!({ "virtualServiceName": name });
    }
    Ok(spec)
}

fn item(key: ResourceKey, spec: Value) -> Result<Item, ConvertError> {
    let kind = key.kind;
    let spec = Spec::from_json(kind, spec).map_err(|error| ConvertError::Spec(error.to_string()))?;
    Ok(Item { key, spec })
}

/// The given members that are present, in the spelling of the mesh API.
fn written(members: &[(&str, &dyn Json)]) -> Value {
    let mut out = Map::new();
    for (name, value) in members {
        let value = value.json();
        if !value.is_null() {
            out.insert((*name).to_owned(), value);
        }
    }
    Value::Object(out)
}

/// A value in the spelling of the mesh API.
fn written_one(value: &impl Serialize) -> Value {
    value.json()
}

/// Values of different types in one list.
trait Json {
    fn json(&self) -> Value;
}

impl<T: Serialize> Json for T {
    fn json(&self) -> Value {
        let mut value = serde_json::to_value(self).expect("the kinds have text keys and finite numbers only");
        respell(&mut value);
        value
    }
}

/// Acronyms that the kinds write in capitals and the mesh API does not.
fn respell(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (ours, theirs) in
                [("certificateARN", "certificateArn"), ("certificateAuthorityARNs", "certificateAuthorityArns")]
            {
                if let Some(value) = members.remove(ours) {
                    members.insert(theirs.to_owned(), value);
                }
            }
            members.values_mut().for_each(respell);
        }
        Value::Array(items) => items.iter_mut().for_each(respell),
        _ => {}
    }
}
