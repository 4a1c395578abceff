//! Membership: the mesh of an object, and the gateway of a gateway route.

use crate::Violation;
use crate::cluster::{ClusterObjects, ObjectKey};
use crate::crd::{Mesh, MeshRef, Resource, VirtualGateway, VirtualGatewayRef};
use crate::selector::{self, Labels};

/// Rejects a membership in a manifest: a stale uid would bind an object to a mesh that was deleted.
pub(super) fn written_by_hand(resource: &Resource) -> Vec<Violation> {
    let mut violations = Vec::new();
    if resource.mesh_ref().is_some() {
        violations.push(Violation::new("spec.meshRef", "is read-only; remove it"));
    }
    if let Resource::GatewayRoute(route) = resource
        && route.spec.virtual_gateway_ref.is_some()
    {
        violations.push(Violation::new(
            "spec.virtualGatewayRef",
            "is read-only; remove it",
        ));
    }
    violations
}

/// Writes the membership of a new object into it.
pub(super) fn decide(resource: &mut Resource, objects: &ClusterObjects) -> Result<(), Violation> {
    if matches!(resource, Resource::Mesh(_)) {
        return Ok(());
    }
    let namespace = resource.namespace().to_owned();
    let Some(labels) = objects.namespace(&namespace) else {
        return Err(Violation::new(
            "metadata.namespace",
            format!("namespace {namespace} is not there; create it first"),
        ));
    };
    let mesh = mesh_of(&namespace, labels, objects)?;
    let mesh_ref = MeshRef {
        name: mesh.metadata.name.clone().unwrap_or_default(),
        uid: mesh.metadata.uid.clone().unwrap_or_default(),
    };
    if let Resource::GatewayRoute(route) = resource {
        let own_labels = route.metadata.labels.clone().unwrap_or_default();
        let gateway = gateway_of(&namespace, labels, &own_labels, objects)?;
        route.spec.virtual_gateway_ref = Some(VirtualGatewayRef {
            name: gateway.metadata.name.clone().unwrap_or_default(),
            namespace: gateway.metadata.namespace.clone(),
            uid: gateway.metadata.uid.clone().unwrap_or_default(),
        });
        if gateway.spec.mesh_ref.as_ref() != Some(&mesh_ref) {
            return Err(Violation::new(
                "metadata.namespace",
                format!(
                    "namespace {namespace} is in mesh {}, but gateway {} that selects this route is in mesh {}; \
                     a gateway and its routes must share one mesh",
                    mesh_ref.name,
                    key(gateway),
                    gateway
                        .spec
                        .mesh_ref
                        .as_ref()
                        .map_or("(none)", |mesh_ref| &mesh_ref.name),
                ),
            ));
        }
    }
    if let Some(slot) = resource.mesh_ref_mut() {
        *slot = Some(mesh_ref);
    }
    Ok(())
}

fn mesh_of<'a>(
    namespace: &str,
    labels: &Labels,
    objects: &'a ClusterObjects,
) -> Result<&'a Mesh, Violation> {
    let selects = |mesh: &&Mesh| {
        let selector = mesh.spec.namespace_selector.as_ref();
        selector.is_some_and(|selector| selector::matches(selector, labels))
    };
    let meshes: Vec<&Mesh> = objects.meshes().filter(selects).collect();
    let name = |mesh: &Mesh| mesh.metadata.name.clone().unwrap_or_default();
    match meshes.as_slice() {
        [mesh] if mesh.metadata.deletion_timestamp.is_some() => Err(Violation::new(
            "metadata.namespace",
            format!(
                "mesh {} of namespace {namespace} is being deleted; wait until it is gone",
                name(mesh)
            ),
        )),
        [mesh] => Ok(mesh),
        [] => Err(Violation::new(
            "metadata.namespace",
            format!(
                "no mesh selects namespace {namespace}, labelled {}; create a Mesh whose spec.namespaceSelector does",
                selector::written(labels)
            ),
        )),
        several => {
            let names: Vec<String> = several.iter().map(|mesh| name(mesh)).collect();
            Err(Violation::new(
                "metadata.namespace",
                format!(
                    "several meshes select namespace {namespace}: {}; narrow their spec.namespaceSelector",
                    names.join(", ")
                ),
            ))
        }
    }
}

fn gateway_of<'a>(
    namespace: &str,
    namespace_labels: &Labels,
    route_labels: &Labels,
    objects: &'a ClusterObjects,
) -> Result<&'a VirtualGateway, Violation> {
    let selects = |gateway: &&VirtualGateway| {
        let namespaces = gateway.spec.namespace_selector.as_ref();
        let routes = gateway.spec.gateway_route_selector.as_ref();
        namespaces.is_some_and(|selector| selector::matches(selector, namespace_labels))
            && routes.is_none_or(|selector| selector::matches(selector, route_labels))
    };
    let gateways: Vec<&VirtualGateway> = objects.virtual_gateways().filter(selects).collect();
    match gateways.as_slice() {
        [gateway] => Ok(gateway),
        [] => Err(Violation::new(
            "metadata.labels",
            format!(
                "no virtual gateway selects this route: its namespace {namespace} is labelled {}, the route {}; \
                 check spec.namespaceSelector and spec.gatewayRouteSelector of the gateway",
                selector::written(namespace_labels),
                selector::written(route_labels)
            ),
        )),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|gateway| key(gateway).to_string())
                .collect();
            Err(Violation::new(
                "metadata.labels",
                format!(
                    "several virtual gateways select this route: {}; narrow their spec.gatewayRouteSelector",
                    names.join(", ")
                ),
            ))
        }
    }
}

fn key(gateway: &VirtualGateway) -> ObjectKey {
    let metadata = &gateway.metadata;
    ObjectKey::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}
