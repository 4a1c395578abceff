//! The sidecar injector of a cluster, and the annotation with which it marks the proxy of a pod.

use k8s_openapi::api::core::v1::{Container, Pod};
use tombolo_kube::ObjectExt;
use tombolo_kube::inject::{InjectConfig, Injection, SIDECAR, inject};

use super::Inject;

/// Annotation with the name of the container that the injector made the proxy of its pod. Manifests cannot set it.
const PROXY: &str = "tombolo.dev/proxy-container";

/// The sidecar injector of a cluster; pods outside the mesh stay as they are.
pub(crate) fn injector(config: InjectConfig) -> Box<Inject> {
    Box::new(move |objects, mut pod: Pod| {
        if let Some(annotations) = &mut pod.metadata.annotations {
            annotations.remove(PROXY);
        }
        if let Injection::Injected { pod: injected, .. } =
            inject(&pod, pod.namespace(), objects.mesh(), &config)?
        {
            pod = *injected;
            set_proxy(&mut pod, SIDECAR);
        }
        Ok(pod)
    })
}

/// Marks the proxy of a pod.
pub(crate) fn set_proxy(pod: &mut Pod, container: &str) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(PROXY.to_owned(), container.to_owned());
}

/// Whether a container is the proxy of its pod.
pub(crate) fn is_proxy(pod: &Pod, container: &Container) -> bool {
    pod.annotation(PROXY) == Some(&container.name)
}
