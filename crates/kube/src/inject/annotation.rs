//! The annotations that configure the injection of a pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::{FieldPath, Violation};

pub(super) const CPU_REQUEST: &str = "appmesh.k8s.aws/cpuRequest";
pub(super) const MEMORY_REQUEST: &str = "appmesh.k8s.aws/memoryRequest";
pub(super) const CPU_LIMIT: &str = "appmesh.k8s.aws/cpuLimit";
pub(super) const MEMORY_LIMIT: &str = "appmesh.k8s.aws/memoryLimit";
pub(super) const PORTS: &str = "appmesh.k8s.aws/ports";
pub(super) const EGRESS_IGNORED_IPS: &str = "appmesh.k8s.aws/egressIgnoredIPs";
pub(super) const EGRESS_IGNORED_PORTS: &str = "appmesh.k8s.aws/egressIgnoredPorts";
pub(super) const IPV6: &str = "appmesh.k8s.aws/ipv6";
pub(super) const CNI: &str = "appmesh.k8s.aws/appmeshCNI";
pub(super) const PROXY_EGRESS_PORT: &str = "appmesh.k8s.aws/proxyEgressPort";
pub(super) const PROXY_INGRESS_PORT: &str = "appmesh.k8s.aws/proxyIngressPort";
pub(super) const IGNORED_UID: &str = "appmesh.k8s.aws/ignoredUID";
pub(super) const PREVIEW: &str = "appmesh.k8s.aws/preview";
pub(super) const SDS: &str = "appmesh.k8s.aws/sds";
pub(super) const SECRET_MOUNTS: &str = "appmesh.k8s.aws/secretMounts";
pub(super) const VOLUME_MOUNTS: &str = "appmesh.k8s.aws/volumeMounts";
pub(super) const SIDECAR_ENV: &str = "appmesh.k8s.aws/sidecarEnv";
pub(super) const SIDECAR_ENV_JSON: &str = "appmesh.k8s.aws/sidecarEnvJson";
pub(super) const SKIP_IMAGE_OVERRIDE: &str = "appmesh.k8s.aws/virtualGatewaySkipImageOverride";
pub(super) const XRAY_CONFIG_MOUNT: &str = "appmesh.k8s.aws/xrayAgentConfigMount";
/// Which proxy the pod gets, `tombolo` or `envoy`; of a namespace, a label of this name says it for its pods.
pub(super) const PROXY_KIND: &str = "tombolo.dev/sidecar";
/// Whether the pod's proxy is a native sidecar: `enabled` or `disabled`.
pub(super) const NATIVE_SIDECAR: &str = "tombolo.dev/native-sidecar";

/// Maximum variables or mounts of one annotation.
const MAX_ENTRIES: usize = 256;

/// The value of an annotation.
pub(super) fn get<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata
        .annotations
        .as_ref()?
        .get(name)
        .map(String::as_str)
}

/// Whether an annotation has this value, ignoring case.
pub(super) fn is(pod: &Pod, name: &str, value: &str) -> bool {
    get(pod, name).is_some_and(|text| text.eq_ignore_ascii_case(value))
}

/// A violation of one annotation.
pub(super) fn violation(name: &str, message: impl Into<String>) -> Violation {
    Violation::new(
        FieldPath::from("metadata.annotations").field(name.to_owned()),
        message,
    )
}

/// The items of a comma-separated list; empty ones are left out.
pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Comma-separated `name:path` pairs, in the order written.
pub(super) fn mounts(pod: &Pod, name: &str) -> Result<Vec<(String, String)>, Violation> {
    let mut mounts = Vec::new();
    for pair in items(get(pod, name).unwrap_or_default()) {
        let parts: Vec<&str> = pair.split(':').map(str::trim).collect();
        match parts.as_slice() {
            [volume, path] if !volume.is_empty() && !path.is_empty() => {
                mounts.push(((*volume).to_owned(), (*path).to_owned()));
            }
            _ => {
                return Err(violation(
                    name,
                    format!("{pair:?} is not a mount; write <volume>:<path>, with commas between"),
                ));
            }
        }
    }
    check_count(name, mounts.len())?;
    Ok(mounts)
}

/// Variables that the pod adds to its proxy, by name. JSON overrides the list.
pub(super) fn sidecar_env(pod: &Pod) -> Result<BTreeMap<String, String>, Violation> {
    let mut variables = BTreeMap::new();
    for pair in items(get(pod, SIDECAR_ENV).unwrap_or_default()) {
        let parts: Vec<&str> = pair.split('=').map(str::trim).collect();
        match parts.as_slice() {
            [name, value] if !name.is_empty() => {
                variables.insert((*name).to_owned(), (*value).to_owned())
            }
            _ => {
                let message = format!(
                    "{pair:?} is not NAME=value; a value that holds = or , goes into {SIDECAR_ENV_JSON}: \
                     '[{{\"NAME\": \"value\"}}]'"
                );
                return Err(violation(SIDECAR_ENV, message));
            }
        };
    }
    if let Some(text) = get(pod, SIDECAR_ENV_JSON) {
        let malformed = |detail: String| {
            violation(
                SIDECAR_ENV_JSON,
                format!("{detail}; write a list of maps of text: '[{{\"NAME\": \"value\"}}]'"),
            )
        };
        let maps: Vec<BTreeMap<String, Value>> =
            serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        for (name, value) in maps.into_iter().flatten() {
            let Value::String(value) = value else {
                return Err(malformed(format!("the value of {name} is not text")));
            };
            variables.insert(name, value);
        }
    }
    check_count(SIDECAR_ENV, variables.len())?;
    Ok(variables)
}

fn check_count(name: &str, count: usize) -> Result<(), Violation> {
    if count > MAX_ENTRIES {
        return Err(violation(
            name,
            format!("has {count} entries; at most {MAX_ENTRIES} are taken"),
        ));
    }
    Ok(())
}
