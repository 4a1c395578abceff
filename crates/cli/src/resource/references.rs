//! References of a resource.

use crate::resource::id::Id;
use tombolo_model::appmesh::{
    Kind, ResourceKey, Spec,
    spec::{virtual_node::ServiceDiscovery, virtual_service::Provider},
};

/// A reference of a mesh resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The role of the target: `target`, `provider` …
    pub(crate) role: &'static str,
    pub(crate) target: Id,
    /// The weight of a target, and the sum of all weights of its route.
    pub(crate) weight: Option<(u32, u32)>,
}

/// The references of a spec, in its order.
pub(crate) fn of(key: &ResourceKey, spec: &Spec) -> Vec<Reference> {
    let in_mesh = |role, kind, name: &str| Reference {
        role,
        target: Id::Mesh(ResourceKey::new(key.mesh.clone(), kind, name)),
        weight: None,
    };
    match spec {
        Spec::Mesh(_) | Spec::VirtualRouter(_) | Spec::VirtualGateway(_) => Vec::new(),
        Spec::VirtualNode(spec) => {
            let mut references = Vec::new();
            if let Some(ServiceDiscovery::AwsCloudMap(discovery)) = &spec.service_discovery {
                references.push(Reference {
                    role: "instances",
                    target: Id::Service {
                        namespace: discovery.namespace_name.clone(),
                        name: discovery.service_name.clone(),
                    },
                    weight: None,
                });
            }
            let backends = spec.backends();
            references.extend(backends.map(|backend| {
                let name = &backend.virtual_service_name;
                in_mesh("backend", Kind::VirtualService, name)
            }));
            references
        }
        Spec::VirtualService(spec) => {
            let provider = spec.provider.as_ref().map(Provider::target);
            let provider = provider.map(|(kind, name)| in_mesh("provider", kind, name));
            provider.into_iter().collect()
        }
        Spec::Route(spec) => {
            let action = spec.action().map(|(_, action)| action);
            let targets = action.map(|it| it.weighted_targets.as_slice());
            let targets = targets.unwrap_or_default();
            let sum = targets.iter().map(|target| target.weight).sum();
            let targets = targets.iter().map(|target| Reference {
                weight: Some((target.weight, sum)),
                ..in_mesh("target", Kind::VirtualNode, &target.virtual_node)
            });
            targets.collect()
        }
        Spec::GatewayRoute(spec) => {
            let target = spec.target().map(|(_, target)| {
                let name = &target.virtual_service.virtual_service_name;
                in_mesh("target", Kind::VirtualService, name)
            });
            target.into_iter().collect()
        }
    }
}
