//! Sidecar injection (`facts/controller.md` §5).
//!
//! The webhook returns the result to Kubernetes, and the local runtime runs it. Environment variables, containers and
//! volumes come in a fixed order, so one pod always gives one result.

mod annotation;
mod config;
mod environment;
pub mod identity;
mod redirect;
mod sidecar;
mod workload;
mod xray;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Container, LocalObjectReference, Pod, PodReadinessGate, PodSpec};

pub use config::{
    IGNORED_IPS, InjectConfig, ProxyKind, Resources, STATS_PORT, Sidecar, Statsd, Tracing,
    XrayDaemon, default_pre_stop, default_sidecar_probe,
};
pub use workload::{Workload, workload_of};

use crate::cluster::ClusterObjects;
use crate::crd::Kind;
use crate::selector::{self, Labels};
use crate::{ObjectExt as _, Violation};

/// Annotation of a pod and label of a namespace that switches injection: `enabled` or `disabled`.
pub const SWITCH: &str = "appmesh.k8s.aws/sidecarInjectorWebhook";
/// Name of the proxy's container.
pub const SIDECAR: &str = "envoy";
/// Name of the init container that redirects the pod's traffic to the proxy.
pub const PROXY_INIT: &str = "proxyinit";
/// Name of the tracing daemon's container.
pub const XRAY_DAEMON: &str = "xray-daemon";
/// The user of the proxy. Its own traffic is not redirected.
pub const PROXY_UID: i64 = 1337;
/// The port to which inbound traffic is redirected.
pub const INGRESS_PORT: u16 = 15000;
/// The port to which outbound traffic is redirected.
pub const EGRESS_PORT: u16 = 15001;
/// Annotation of a mirror pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The pod condition that says that the registry hands out the pod's address.
pub const CLOUD_MAP_GATE: &str = "conditions.appmesh.k8s.aws/aws-cloudmap-healthy";

/// The outcome of the injection of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Injection {
    /// The pod stays outside the mesh.
    Untouched(NotInjected),
    /// The pod is part of the mesh.
    Injected {
        /// The pod with its sidecar.
        pod: Box<Pod>,
        /// The virtual node or gateway of the pod.
        workload: Workload,
    },
}

/// The reason why a pod stays outside the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInjected {
    /// The pod's namespace is not labelled `enabled` or `disabled`, so the webhook is not called.
    NamespaceNotLabelled,
    /// The pod's annotation, or else its namespace, says `disabled`.
    Disabled,
    /// No virtual node or gateway selects it, and injection is not `enabled` explicitly.
    NotSelected,
    /// No virtual node or gateway selects it although injection is `enabled`, but no controller owns it either: somebody
    /// runs a pod by hand, to look around.
    BareAndNotSelected,
    /// A gateway selects it, but it has no container for the proxy.
    GatewayWithoutProxy,
    /// It mirrors a pod that a kubelet runs from a file, which an admission cannot change.
    Mirror,
}

impl NotInjected {
    /// What somebody who expects the pod in the mesh should know, if anybody may.
    pub const fn warning(self) -> Option<&'static str> {
        match self {
            Self::BareAndNotSelected => Some(
                "the pod gets no sidecar: no virtual node or gateway of its namespace selects it",
            ),
            Self::GatewayWithoutProxy => Some(
                "the pod gets no proxy: a virtual gateway selects it, but it has no container named envoy",
            ),
            Self::NamespaceNotLabelled | Self::Disabled | Self::NotSelected | Self::Mirror => None,
        }
    }
}

/// Injects a pod that is created in `namespace`. A pod that is injected already comes out as it is.
///
/// # Errors
/// No virtual node or gateway selects the pod although injection is `enabled`, and a controller owns it or the
/// configuration is strict; several do; one that does was not admitted; the pod is in its host's network; or an
/// annotation is malformed. The field names the label or annotation.
pub fn inject(
    pod: &Pod,
    namespace: &str,
    objects: &ClusterObjects,
    config: &InjectConfig,
) -> Result<Injection, Violation> {
    let namespace_labels = objects.namespace(namespace);
    let Some(namespace_switch) = namespace_labels.and_then(intercepted) else {
        return Ok(Injection::Untouched(NotInjected::NamespaceNotLabelled));
    };
    let switch = annotation::get(pod, SWITCH).unwrap_or(namespace_switch);
    if switch.eq_ignore_ascii_case("disabled") {
        return Ok(Injection::Untouched(NotInjected::Disabled));
    }
    if annotation::get(pod, MIRROR).is_some() {
        return Ok(Injection::Untouched(NotInjected::Mirror));
    }
    let empty = Labels::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    let Some(workload) = workload_of(labels, namespace, objects)? else {
        if !switch.eq_ignore_ascii_case("enabled") {
            return Ok(Injection::Untouched(NotInjected::NotSelected));
        }
        if !config.strict && pod.controller_uid().is_none() {
            return Ok(Injection::Untouched(NotInjected::BareAndNotSelected));
        }
        return Err(Violation::new(
            "metadata.labels",
            format!(
                "sidecar injection is enabled, but no virtual node or gateway of namespace {namespace} selects a pod \
                 labelled {}; apply one whose spec.podSelector does, or annotate the pod with {SWITCH}: disabled",
                selector::written(labels)
            ),
        ));
    };
    let sidecar = sidecar::choose(pod, namespace_labels.unwrap_or(&empty), config)?;
    let mut pod = pod.clone();
    match workload.kind {
        Kind::VirtualGateway if !has_container(&pod, SIDECAR) => {
            return Ok(Injection::Untouched(NotInjected::GatewayWithoutProxy));
        }
        Kind::VirtualGateway => virtual_gateway(&mut pod, &workload, sidecar, config)?,
        _ => virtual_node(&mut pod, &workload, namespace, objects, sidecar, config)?,
    }
    if let Some(identity) = &config.identity {
        identity::add(
            &mut pod,
            &workload.resource_path(&config.account_id),
            identity,
        );
    }
    Ok(Injection::Injected {
        pod: Box::new(pod),
        workload,
    })
}

/// The injection label of a namespace, if the webhook is called for it: only for the exact values `enabled` and
/// `disabled`.
fn intercepted(labels: &Labels) -> Option<&str> {
    labels
        .get(SWITCH)
        .map(String::as_str)
        .filter(|value| ["enabled", "disabled"].contains(value))
}

fn virtual_node(
    pod: &mut Pod,
    workload: &Workload,
    namespace: &str,
    objects: &ClusterObjects,
    sidecar: &Sidecar,
    config: &InjectConfig,
) -> Result<(), Violation> {
    if spec(pod).host_network == Some(true) {
        return Err(Violation::new(
            "spec.hostNetwork",
            format!(
                "virtual node {} selects the pod, but a sidecar would redirect the traffic of its whole host; \
                 remove hostNetwork, or annotate the pod with {SWITCH}: disabled",
                workload.key
            ),
        ));
    }
    let node = objects.virtual_node(namespace, &workload.key.name);
    let ports: Vec<u16> = node
        .map(|node| {
            node.spec
                .listeners()
                .iter()
                .map(|listener| listener.port_mapping.port)
                .collect()
        })
        .unwrap_or_default();
    redirect::apply(pod, &ports, config)?;
    sidecar::add(pod, workload, sidecar, config)?;
    xray::add(pod, sidecar.restricted, config)?;
    let uses_cloud_map = node.is_some_and(|node| node.spec.cloud_map().is_some());
    let spec = spec(pod);
    if uses_cloud_map && config.cloud_map_readiness_gate {
        let gates = spec.readiness_gates.get_or_insert_default();
        if !gates
            .iter()
            .any(|gate| gate.condition_type == CLOUD_MAP_GATE)
        {
            gates.push(PodReadinessGate {
                condition_type: CLOUD_MAP_GATE.to_owned(),
            });
        }
    }
    if config.iam_for_service_accounts {
        // Lets the proxy read the projected service account token.
        spec.security_context
            .get_or_insert_default()
            .fs_group
            .get_or_insert(PROXY_UID);
    }
    if let Some(secret) = &config.image_pull_secret {
        let secrets = spec.image_pull_secrets.get_or_insert_default();
        if !secrets.iter().any(|present| present.name == *secret) {
            secrets.push(LocalObjectReference {
                name: secret.clone(),
            });
        }
    }
    Ok(())
}

/// A gateway's pod brings its own proxy container.
fn virtual_gateway(
    pod: &mut Pod,
    workload: &Workload,
    sidecar: &Sidecar,
    config: &InjectConfig,
) -> Result<(), Violation> {
    sidecar::configure(pod, workload, sidecar, config)?;
    xray::add(pod, sidecar.restricted, config)
}

fn spec(pod: &mut Pod) -> &mut PodSpec {
    pod.spec.get_or_insert_default()
}

fn has_container(pod: &Pod, name: &str) -> bool {
    let init = |spec: &PodSpec| spec.init_containers.iter().any(|all| named(all, name));
    pod.spec
        .as_ref()
        .is_some_and(|spec| named(&spec.containers, name) || init(spec))
}

fn named(containers: &[Container], name: &str) -> bool {
    containers.iter().any(|container| container.name == name)
}
