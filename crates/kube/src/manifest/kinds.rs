//! Which kinds are known, and what becomes of each.

use crate::crd::{self, Kind};

/// What is done with documents of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// `v1` `List`: its items are documents.
    List,
    /// It is one object.
    Object(Reading),
}

/// How one object is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Read into its own type.
    Core(Core),
    /// One of the seven mesh kinds.
    Mesh(Kind),
    /// Kept as written for the Istio dialect.
    Istio,
    /// Accepted with a warning.
    NotRun { namespaced: bool },
}

/// The Kubernetes kinds that have a type of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Core {
    Namespace,
    Deployment,
    Service,
    ConfigMap,
    Secret,
    Pod,
}

const CORE: [(&str, &str, Core); 6] = [
    ("v1", "Namespace", Core::Namespace),
    ("apps/v1", "Deployment", Core::Deployment),
    ("v1", "Service", Core::Service),
    ("v1", "ConfigMap", Core::ConfigMap),
    ("v1", "Secret", Core::Secret),
    ("v1", "Pod", Core::Pod),
];

const ISTIO_GROUPS: [&str; 4] = [
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
];

/// Groups of which every kind is known here: another one is misspelt.
const OWN_GROUPS: [&str; 2] = ["", "apps"];

/// Group, kind, and whether it is namespaced. Any version: nothing inside is read.
const NOT_RUN: [(&str, &str, bool); 33] = [
    ("", "ServiceAccount", true),
    ("", "PersistentVolume", false),
    ("", "PersistentVolumeClaim", true),
    ("", "LimitRange", true),
    ("", "ResourceQuota", true),
    ("", "Endpoints", true),
    ("", "ReplicationController", true),
    ("apps", "DaemonSet", true),
    ("apps", "StatefulSet", true),
    ("apps", "ReplicaSet", true),
    ("batch", "Job", true),
    ("batch", "CronJob", true),
    ("autoscaling", "HorizontalPodAutoscaler", true),
    ("policy", "PodDisruptionBudget", true),
    ("policy", "PodSecurityPolicy", false),
    ("networking.k8s.io", "Ingress", true),
    ("networking.k8s.io", "IngressClass", false),
    ("networking.k8s.io", "NetworkPolicy", true),
    ("extensions", "Ingress", true),
    ("discovery.k8s.io", "EndpointSlice", true),
    ("rbac.authorization.k8s.io", "Role", true),
    ("rbac.authorization.k8s.io", "RoleBinding", true),
    ("rbac.authorization.k8s.io", "ClusterRole", false),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", false),
    ("storage.k8s.io", "StorageClass", false),
    ("scheduling.k8s.io", "PriorityClass", false),
    ("apiextensions.k8s.io", "CustomResourceDefinition", false),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        false,
    ),
    ("cert-manager.io", "Issuer", true),
    ("cert-manager.io", "ClusterIssuer", false),
    ("cert-manager.io", "Certificate", true),
    ("monitoring.coreos.com", "ServiceMonitor", true),
];

/// What becomes of a document, or one sentence that says why it is refused and what to write instead.
pub(super) fn treatment(api_version: &str, kind: &str) -> Result<Treatment, String> {
    if let Some((_, _, core)) = CORE
        .iter()
        .find(|(version, name, _)| *version == api_version && *name == kind)
    {
        return Ok(Treatment::Object(Reading::Core(*core)));
    }
    if api_version == "v1" && kind == "List" {
        return Ok(Treatment::List);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group == crd::GROUP {
        return mesh_kind(version, kind);
    }
    if ISTIO_GROUPS.contains(&group) {
        return Ok(Treatment::Object(Reading::Istio));
    }
    if let Some((_, _, namespaced)) = NOT_RUN
        .iter()
        .find(|(known, name, _)| *known == group && *name == kind)
    {
        return Ok(Treatment::Object(Reading::NotRun {
            namespaced: *namespaced,
        }));
    }
    // Kinds of others are theirs to know: Kustomization, HelmRelease, Rollout and whatever comes.
    if !OWN_GROUPS.contains(&group) && !CORE.iter().any(|(_, name, _)| *name == kind) {
        return Ok(Treatment::Object(Reading::NotRun { namespaced: true }));
    }
    if let Some((right, ..)) = CORE.iter().find(|(_, name, _)| *name == kind) {
        return Err(format!(
            "{kind} of apiVersion {api_version} is not known; write apiVersion: {right}"
        ));
    }
    Err(format!(
        "kind {kind} of apiVersion {api_version} is not known; known are {}",
        known()
    ))
}

fn mesh_kind(version: &str, kind: &str) -> Result<Treatment, String> {
    if version == crd::VERSION {
        return Kind::from_name(kind)
            .map(|kind| Treatment::Object(Reading::Mesh(kind)))
            .ok_or_else(|| {
                let names = Kind::ALL.map(Kind::name).join(", ");
                format!("{} has no kind {kind}; it has {names}", crd::API_VERSION)
            });
    }
    Err(format!(
        "{}/{version} is not read; rewrite it as {}: put routes into a VirtualRouter of its own that the \
         VirtualService names as its provider, replace meshName by a Mesh whose namespaceSelector selects the \
         namespace, write serviceDiscovery.awsCloudMap or dns.hostname, add a podSelector, and set awsName to \
         <name>-<namespace> to keep the names",
        crd::GROUP,
        crd::API_VERSION
    ))
}

/// The kinds that are run, for an error message. Those that are merely accepted would make it unreadable.
fn known() -> String {
    let core = CORE
        .iter()
        .map(|(version, kind, _)| format!("{kind} ({version})"));
    let mesh = Kind::ALL.map(Kind::name).join(", ");
    let core: Vec<String> = core.collect();
    format!("{}, and {mesh} ({})", core.join(", "), crd::API_VERSION)
}
