//! The known kinds with their decoders, and fields that are accepted although no kind has them.

use serde_json::Value;
use tombolo_document::{DecodeError, Decoded};

use super::Object;
use crate::Codec;
use crate::crd::{self, Kind};
use crate::v1beta1;

/// The decoding of documents of one kind.
#[derive(Clone, Copy)]
pub(super) enum Format {
    /// `v1` `List`: its items are documents.
    List,
    /// A kind of Kubernetes, decoded into its own type.
    Core { decode: Decode, namespaced: bool },
    /// One of the seven mesh kinds.
    Mesh(Kind),
    /// Kept as written for the Istio dialect.
    Istio,
    /// Accepted with a warning, and not run.
    NotRun { namespaced: bool },
}

pub(super) type Decode = fn(&Value) -> Result<Decoded<Object>, DecodeError>;

fn decode<T: Codec>(
    value: &Value,
    object: fn(Box<T>) -> Object,
) -> Result<Decoded<Object>, DecodeError> {
    Ok(T::decode(value)?.map(Box::new).map(object))
}

/// API version, kind, and decoder.
const CORE: [(&str, &str, Decode); 6] = [
    ("v1", "Namespace", |value| decode(value, Object::Namespace)),
    ("apps/v1", "Deployment", |value| {
        decode(value, Object::Deployment)
    }),
    ("v1", "Service", |value| decode(value, Object::Service)),
    ("v1", "ConfigMap", |value| decode(value, Object::ConfigMap)),
    ("v1", "Secret", |value| decode(value, Object::Secret)),
    ("v1", "Pod", |value| decode(value, Object::Pod)),
];

const ISTIO_GROUPS: [&str; 4] = [
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
];

/// Groups whose kinds are all listed here: another kind is misspelt.
const OWN_GROUPS: [&str; 2] = ["", "apps"];

/// Group, kind, and whether it is namespaced. The version is not checked: only metadata is read.
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

/// A kind or version that is not supported.
#[derive(Debug, thiserror::Error)]
pub(super) enum KindError {
    /// A kind of Kubernetes with another version.
    #[error("{kind} of apiVersion {api_version} is not known; write apiVersion: {expected}")]
    CoreVersion {
        kind: String,
        api_version: String,
        expected: &'static str,
    },
    /// A group of Kubernetes has no such kind.
    #[error(
        "kind {kind} of apiVersion {api_version} is not known; known are {}",
        known()
    )]
    Core { kind: String, api_version: String },
    /// The App Mesh group has no such kind.
    #[error("{version} has no kind {0}; it has {names}", version = crd::API_VERSION, names = Kind::ALL.map(Kind::name).join(", "))]
    Mesh(String),
    /// The version of the App Mesh group before.
    #[error(
        "{} is not read; `tombolo convert` rewrites it as {}",
        v1beta1::VERSION,
        crd::API_VERSION
    )]
    MeshV1beta1,
    /// An older version of the App Mesh group.
    #[error(
        "{group}/{0} is not read; rewrite it as {version}: put routes into a VirtualRouter of its own that the VirtualService \
         names as its provider, replace meshName by a Mesh whose namespaceSelector selects the namespace, write \
         serviceDiscovery.awsCloudMap or dns.hostname, add a podSelector, and set awsName to <name>-<namespace> to \
         keep the names",
        group = crd::GROUP,
        version = crd::API_VERSION
    )]
    MeshVersion(String),
}

/// The decoding of documents of this kind.
///
/// # Errors
/// The kind or its version is not supported.
pub(super) fn format(api_version: &str, kind: &str) -> Result<Format, KindError> {
    let core = CORE.iter().find(|(_, name, _)| *name == kind);
    if let Some((version, _, decode)) = core
        && *version == api_version
    {
        return Ok(Format::Core {
            decode: *decode,
            namespaced: kind != "Namespace",
        });
    }
    if api_version == "v1" && kind == "List" {
        return Ok(Format::List);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group == crd::GROUP {
        return mesh_kind(version, kind);
    }
    if ISTIO_GROUPS.contains(&group) {
        return Ok(Format::Istio);
    }
    let mut not_run = NOT_RUN.iter();
    if let Some((.., namespaced)) =
        not_run.find(|(known, name, _)| *known == group && *name == kind)
    {
        return Ok(Format::NotRun {
            namespaced: *namespaced,
        });
    }
    match core {
        Some((expected, ..)) => Err(KindError::CoreVersion {
            kind: kind.to_owned(),
            api_version: api_version.to_owned(),
            expected,
        }),
        // Kinds of other groups are accepted: Kustomization, HelmRelease, Rollout.
        None if !OWN_GROUPS.contains(&group) => Ok(Format::NotRun { namespaced: true }),
        None => Err(KindError::Core {
            kind: kind.to_owned(),
            api_version: api_version.to_owned(),
        }),
    }
}

fn mesh_kind(version: &str, kind: &str) -> Result<Format, KindError> {
    if version == "v1beta1" {
        return Err(KindError::MeshV1beta1);
    }
    if version != crd::VERSION {
        return Err(KindError::MeshVersion(version.to_owned()));
    }
    let known = Kind::from_name(kind).map(Format::Mesh);
    known.ok_or_else(|| KindError::Mesh(kind.to_owned()))
}

/// The kinds that are run, for an error message. It would be unreadable with those that are accepted and not run.
fn known() -> String {
    let core = CORE
        .iter()
        .map(|(version, kind, _)| format!("{kind} ({version})"));
    let mesh = Kind::ALL.map(Kind::name).join(", ");
    let core: Vec<String> = core.collect();
    format!("{}, and {mesh} ({})", core.join(", "), crd::API_VERSION)
}

/// Kind, path with `[*]` for every item, and the warning. Public walkthroughs have these fields although no version
/// of the kinds had them. Kubernetes pruned them, so those manifests worked: they are warnings for every strictness.
const TOLERATED_FIELDS: [(&str, &str, &str); 4] = [
    (
        "VirtualRouter",
        "spec.routes[*].tcpRoute.match.prefix",
        "a tcpRoute cannot match a path; the field is ignored",
    ),
    (
        "VirtualNode",
        "spec.backendDefaults.clientPolicy.tls.mode",
        NO_MODE,
    ),
    (
        "VirtualNode",
        "spec.backends[*].virtualService.clientPolicy.tls.mode",
        NO_MODE,
    ),
    (
        "VirtualGateway",
        "spec.backendDefaults.clientPolicy.tls.mode",
        NO_MODE,
    ),
];

const NO_MODE: &str =
    "a client policy has no mode; enforce says whether TLS is required, and the field is ignored";

/// The warning for an unknown field that is tolerated. `pattern` has `[*]` for every item.
pub(super) fn tolerated_field(kind: &str, pattern: &str) -> Option<&'static str> {
    let mut tolerated = TOLERATED_FIELDS.iter();
    let (.., warning) = tolerated.find(|(of, path, _)| *of == kind && *path == pattern)?;
    Some(warning)
}
