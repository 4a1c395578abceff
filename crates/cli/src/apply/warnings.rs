//! Warnings about parts of documents that have no effect yet.

use super::plan::Step;
use crate::{
    apply::dry_run::DryRun,
    resource::{document_spec::DocumentSpec, id::Id},
};
use std::collections::BTreeMap;
use tombolo_model::{
    ScopeView,
    appmesh::{
        Kind, ResourceKey, Spec,
        spec::{Protocol, VirtualNodeSpec, tls_gaps, virtual_service::Provider},
    },
};

/// Warnings about documents, each with file and line, in their order.
pub(super) fn of(steps: &[Step], dry_run: &DryRun) -> Vec<String> {
    let mut warnings = Vec::new();
    for step in steps {
        let (Id::Mesh(key), DocumentSpec::Mesh(spec)) = (&step.desired.id, &step.desired.content)
        else {
            continue;
        };
        let mut warn = |field: &str, message: &str| {
            let location = step.desired.location.line_in_spec(field);
            warnings.push(format!(
                "{location}: {}: {field}: {message}",
                step.desired.id
            ));
        };
        for gap in tls_gaps(spec) {
            warn(&gap.field, gap.message);
        }
        if let (Spec::VirtualNode(spec), Some(scope)) = (spec, dry_run.scope()) {
            for (field, message) in tcp_backends(scope, key, spec) {
                warn(&field, &message);
            }
        }
    }
    warnings
}

/// Backends whose TCP port another backend has already: a proxy only sees the port of a connection and no name, so it
/// cannot distinguish them.
fn tcp_backends(
    scope: &ScopeView,
    node: &ResourceKey,
    spec: &VirtualNodeSpec,
) -> Vec<(String, String)> {
    let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (index, backend) in spec.backends().enumerate() {
        let service = backend.name();
        for port in tcp_ports(scope, node, service) {
            match taken.get(&port) {
                Some(first) if *first != service => warnings.push((
                    format!("spec.backends[{index}]"),
                    format!(
                        "{service} and {first} are both TCP on port {port}: connections to them cannot be told \
                         apart by the port alone, and may reach {first}; give them different ports"
                    ),
                )),
                Some(_) => {}
                None => {
                    taken.insert(port, service);
                }
            }
        }
    }
    warnings
}

/// The TCP ports of a virtual service, as far as its provider is known.
fn tcp_ports(scope: &ScopeView, caller: &ResourceKey, service: &str) -> Vec<u16> {
    let find = |kind, name: &str| {
        let key = ResourceKey::new(caller.mesh.clone(), kind, name);
        scope.resource(&key).map(|resource| &resource.spec)
    };
    let Some(Spec::VirtualService(service)) = find(Kind::VirtualService, service) else {
        return Vec::new();
    };
    let Some((kind, name)) = service.provider.as_ref().map(Provider::target) else {
        return Vec::new();
    };
    let mappings: Vec<_> = match find(kind, name) {
        Some(Spec::VirtualNode(node)) => {
            node.listeners().iter().map(|it| it.port_mapping).collect()
        }
        Some(Spec::VirtualRouter(router)) => router.listeners().collect(),
        _ => Vec::new(),
    };
    let tcp = mappings.iter().filter(|it| it.protocol == Protocol::Tcp);
    tcp.map(|it| it.port).collect()
}
