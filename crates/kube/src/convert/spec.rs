//! The spec of each kind, in the shapes of the mesh API.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tombolo_model::appmesh::{Kind as ModelKind, Spec};

use super::ConvertError;
use super::references::{ReferenceError, Resolver};
use crate::crd::{GatewayRoute, Resource, Route, VirtualNode, VirtualRouter, VirtualService};
use crate::field::{Denial, FieldPath};

/// The spec of an object of `kind` in the mesh API, within the model's bounds.
pub(super) fn of_object(
    resource: &Resource,
    kind: ModelKind,
    resolver: &Resolver<'_>,
) -> Result<Spec, ConvertError> {
    let spec = match resource {
        Resource::Mesh(mesh) => written(&[
            ("egressFilter", &mesh.spec.egress_filter),
            ("serviceDiscovery", &mesh.spec.mesh_service_discovery),
        ]),
        Resource::VirtualNode(node) => virtual_node(node, resolver)?,
        Resource::VirtualRouter(router) => written(&[("listeners", &router.spec.listeners)]),
        Resource::VirtualService(service) => virtual_service(service, resolver)?,
        Resource::VirtualGateway(gateway) => {
            let mut spec = written(&[
                ("logging", &gateway.spec.logging),
                ("backendDefaults", &gateway.spec.backend_defaults),
            ]);
            // The API requires the list where the kind leaves it open.
            spec["listeners"] = gateway.spec.listeners().json();
            spec
        }
        Resource::GatewayRoute(route) => gateway_route(route, resolver)?,
        Resource::BackendGroup(_) => Value::Null,
    };
    read(kind, spec, &FieldPath::from("spec"))
}

/// The names and specs of a router's routes, sorted by name, so that one router always gives one list.
pub(super) fn of_routes(
    router: &VirtualRouter,
    resolver: &Resolver<'_>,
) -> Result<Vec<(String, Spec)>, ConvertError> {
    let mut routes = Vec::new();
    for (index, route) in router.spec.routes().iter().enumerate() {
        let at = FieldPath::from("spec.routes").index(index);
        let spec = read(ModelKind::Route, route_spec(route, &at, resolver)?, &at)?;
        routes.push((route.name.clone(), spec));
    }
    routes.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(routes)
}

/// Reads a spec that stands at `at` of an object, and applies the model's own rules to it.
fn read(kind: ModelKind, spec: Value, at: &FieldPath) -> Result<Spec, ConvertError> {
    let spec = Spec::from_json(kind, spec)
        .map_err(|error| ConvertError::Spec(Denial::new(at.clone(), error.to_string())))?;
    if let Err(problem) = spec.check() {
        // The model's paths begin at its own spec, which is a part of the object's.
        let inside = FieldPath::from(problem.field.strip_prefix("spec").unwrap_or(&problem.field));
        return Err(ConvertError::Spec(Denial::new(
            at.clone().join(&inside),
            problem.message,
        )));
    }
    Ok(spec)
}

fn virtual_node(node: &VirtualNode, resolver: &Resolver<'_>) -> Result<Value, ReferenceError> {
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
        let at = FieldPath::from("spec.backends")
            .index(index)
            .field("virtualService");
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
    for name in
        resolver.grouped_services(node.spec.backend_groups.as_deref().unwrap_or_default())?
    {
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

fn virtual_service(
    service: &VirtualService,
    resolver: &Resolver<'_>,
) -> Result<Value, ReferenceError> {
    let Some(provider) = &service.spec.provider else {
        return Ok(json!({}));
    };
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

fn route_spec(
    route: &Route,
    at: &FieldPath,
    resolver: &Resolver<'_>,
) -> Result<Value, ReferenceError> {
    let mut spec = route.json();
    if let Some(members) = spec.as_object_mut() {
        members.remove("name");
    }
    let actions = [
        (
            "grpcRoute",
            route.grpc_route.as_ref().map(|route| &route.action),
        ),
        (
            "httpRoute",
            route.http_route.as_ref().map(|route| &route.action),
        ),
        (
            "http2Route",
            route.http2_route.as_ref().map(|route| &route.action),
        ),
        (
            "tcpRoute",
            route.tcp_route.as_ref().map(|route| &route.action),
        ),
    ];
    for (member, action) in actions {
        let Some(action) = action else { continue };
        let at = at
            .clone()
            .field(member)
            .field("action")
            .field("weightedTargets");
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

fn gateway_route(route: &GatewayRoute, resolver: &Resolver<'_>) -> Result<Value, ReferenceError> {
    let mut spec = written(&[
        ("priority", &route.spec.priority),
        ("grpcRoute", &route.spec.grpc_route),
        ("httpRoute", &route.spec.http_route),
        ("http2Route", &route.spec.http2_route),
    ]);
    let targets = [
        (
            "grpcRoute",
            route
                .spec
                .grpc_route
                .as_ref()
                .map(|route| &route.action.target),
        ),
        (
            "httpRoute",
            route
                .spec
                .http_route
                .as_ref()
                .map(|route| &route.action.target),
        ),
        (
            "http2Route",
            route
                .spec
                .http2_route
                .as_ref()
                .map(|route| &route.action.target),
        ),
    ];
    for (member, target) in targets {
        let Some(target) = target else { continue };
        let at = FieldPath::from("spec")
            .field(member)
            .field("action")
            .field("target")
            .field("virtualService");
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
trait Json {
    fn json(&self) -> Value;
}

impl<T: Serialize> Json for T {
    fn json(&self) -> Value {
        let mut value =
            serde_json::to_value(self).expect("the kinds have text keys and finite numbers only");
        respell(&mut value);
        value
    }
}

/// Acronyms that the kinds write in capitals and the mesh API does not.
fn respell(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (ours, theirs) in [
                ("certificateARN", "certificateArn"),
                ("certificateAuthorityARNs", "certificateAuthorityArns"),
            ] {
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
