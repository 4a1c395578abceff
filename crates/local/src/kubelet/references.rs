//! References of a container: entries of ConfigMaps and Secrets, and fields of its own pod (the downward API).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectFieldSelector, Pod, Secret};
use tombolo_kube::ObjectExt;

use crate::cluster::Objects;

/// A dangling reference, in Kubernetes' words for `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReferenceError {
    /// There is no such ConfigMap or Secret.
    #[error("{kind} \"{name}\" not found in namespace \"{namespace}\"")]
    Object {
        kind: &'static str,
        name: String,
        namespace: String,
    },
    /// The ConfigMap or Secret has no such key.
    #[error("key \"{key}\" of {kind} \"{name}\" not found")]
    Key {
        kind: &'static str,
        name: String,
        key: String,
    },
    /// A pod has no such field, or containers cannot refer to it.
    #[error("unsupported fieldPath \"{0}\"")]
    Field(String),
}

/// The kind of object that holds the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// `data` of a ConfigMap.
    ConfigMap,
    /// `data` and `binaryData` of a ConfigMap, as volumes show it.
    ConfigMapFiles,
    Secret,
}

/// A reference to a ConfigMap or a Secret.
pub(super) struct DataRef<'a> {
    pub(super) source: Source,
    pub(super) name: &'a str,
    /// Whether a missing object or key is allowed.
    pub(super) optional: Option<bool>,
}

/// Data by key.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

impl DataRef<'_> {
    fn kind(&self) -> &'static str {
        match self.source {
            Source::ConfigMap | Source::ConfigMapFiles => "configmap",
            Source::Secret => "secret",
        }
    }

    fn find(&self, objects: &Objects, namespace: &str) -> Option<Data> {
        match self.source {
            Source::ConfigMap | Source::ConfigMapFiles => {
                let map = objects.get::<ConfigMap>(namespace, self.name)?;
                let text = map.data.clone().unwrap_or_default().into_iter();
                let text = text.map(|(key, value)| (key, value.into_bytes()));
                let binary = map
                    .binary_data
                    .clone()
                    .filter(|_| self.source == Source::ConfigMapFiles);
                let binary = binary.unwrap_or_default().into_iter();
                Some(
                    text.chain(binary.map(|(key, value)| (key, value.0)))
                        .collect(),
                )
            }
            Source::Secret => {
                let secret = objects.get::<Secret>(namespace, self.name)?;
                let data = secret.data.clone().unwrap_or_default().into_iter();
                // `stringData` overrides `data`, as on a real API server.
                let text = secret.string_data.clone().unwrap_or_default().into_iter();
                let text = text.map(|(key, value)| (key, value.into_bytes()));
                Some(
                    data.map(|(key, value)| (key, value.0))
                        .chain(text)
                        .collect(),
                )
            }
        }
    }

    /// All entries; none where an optional object is missing.
    ///
    /// # Errors
    /// The object is missing.
    pub(super) fn data(&self, objects: &Objects, pod: &Pod) -> Result<Data, ReferenceError> {
        match self.find(objects, pod.namespace()) {
            Some(data) => Ok(data),
            None if self.optional == Some(true) => Ok(Data::new()),
            None => Err(ReferenceError::Object {
                kind: self.kind(),
                name: self.name.to_owned(),
                namespace: pod.namespace().to_owned(),
            }),
        }
    }

    /// The entry of a key; `None` where it is optional and missing.
    ///
    /// # Errors
    /// The object or the key is missing.
    pub(super) fn entry(
        &self,
        objects: &Objects,
        pod: &Pod,
        key: &str,
    ) -> Result<Option<Vec<u8>>, ReferenceError> {
        let data = self.find(objects, pod.namespace());
        match data.and_then(|mut data| data.remove(key)) {
            None if self.optional != Some(true) => Err(ReferenceError::Key {
                kind: self.kind(),
                name: self.name.to_owned(),
                key: key.to_owned(),
            }),
            found => Ok(found),
        }
    }
}

/// A field of the pod by its downward API path.
///
/// # Errors
/// Pods have no such field.
pub(super) fn field(pod: &Pod, selector: &ObjectFieldSelector) -> Result<String, ReferenceError> {
    let path = selector.field_path.as_str();
    let meta = &pod.metadata;
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let entry = |prefix: &str, map: &Option<BTreeMap<String, String>>| {
        let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
        Some(
            map.as_ref()
                .and_then(|map| map.get(key))
                .cloned()
                .unwrap_or_default(),
        )
    };
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .service_account_name
            .unwrap_or_else(|| "default".into()),
        "status.podIP" | "status.podIPs" => status.pod_ip.unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => status.host_ip.unwrap_or_default(),
        _ => entry("metadata.labels['", &meta.labels)
            .or_else(|| entry("metadata.annotations['", &meta.annotations))
            .ok_or_else(|| ReferenceError::Field(path.to_owned()))?,
    })
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let entries = map.into_iter().flatten();
    entries
        .map(|(key, value)| format!("{key}={value:?}\n"))
        .collect()
}
