//! The store as `tombolo-kube` looks at it: namespaces and mesh objects.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use tombolo_kube::crd::{self, Resource};
use tombolo_kube::inject::{InjectConfig, Injection, inject};
use tombolo_kube::{ClusterObjects, manifest};

use super::Kind;
use super::object::{Object, Objects, Stored};
use super::workload::Inject;

/// The view that admission, conversion and injection decide against.
pub fn view(objects: &Objects) -> ClusterObjects {
    let mut view = ClusterObjects::new();
    for namespace in objects.list::<Namespace>() {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        view.put_namespace(name, namespace.metadata.labels.clone().unwrap_or_default());
    }
    for resource in Kind::all()
        .filter(|kind| kind.mesh())
        .flat_map(|kind| objects.of_kind(kind))
        .filter_map(|object| resource(object))
    {
        view.put(resource);
    }
    view
}

/// A stored mesh object as what it is.
pub fn resource(object: &Object) -> Option<Resource> {
    fn read<T: Stored + Into<Resource>>(object: &Object) -> Option<Resource> {
        object.read::<T>().map(|typed| T::clone(&typed).into())
    }
    match object.key.kind {
        Kind::Mesh => read::<crd::Mesh>(object),
        Kind::VirtualNode => read::<crd::VirtualNode>(object),
        Kind::VirtualRouter => read::<crd::VirtualRouter>(object),
        Kind::VirtualService => read::<crd::VirtualService>(object),
        Kind::VirtualGateway => read::<crd::VirtualGateway>(object),
        Kind::GatewayRoute => read::<crd::GatewayRoute>(object),
        Kind::BackendGroup => read::<crd::BackendGroup>(object),
        _ => None,
    }
}

/// The injector of a cluster: pods that belong to the mesh get their sidecar, others stay as they are.
pub fn injector(config: InjectConfig) -> Box<Inject> {
    Box::new(move |objects, mut pod: Pod| {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        match inject(&pod, &namespace, &view(objects), &config) {
            Ok(Injection::Injected { pod: injected, .. }) => pod = *injected,
            Ok(Injection::Untouched(_)) => {}
            Err(denial) => return Err(denial.to_string()),
        }
        Ok(pod)
    })
}

/// The kind under which a manifest's object is stored; `None` for kinds that are not run.
pub fn kind(object: &manifest::Object) -> Option<Kind> {
    match object {
        manifest::Object::Istio(_) | manifest::Object::NotRun(_) => None,
        object => Kind::read(object.api_version(), object.kind()),
    }
}
