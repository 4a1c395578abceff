//! The environment of a container, resolved: literals, ConfigMaps, Secrets, the downward API, `$(NAME)`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, Secret,
};

use super::endpoint::services;
use super::object::Objects;

/// The variables of a container in `pod`.
///
/// # Errors
/// Names the ConfigMap, Secret, key or field that is missing, as Kubernetes does in `CreateContainerConfigError`.
pub fn resolve(
    objects: &Objects,
    pod: &Pod,
    container: &Container,
) -> Result<BTreeMap<String, String>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut env = BTreeMap::new();
    if pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false) {
        env.extend(service_links(objects, namespace));
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            match objects.get::<ConfigMap>(namespace, &reference.name) {
                Some(map) => env.extend(
                    map.data
                        .iter()
                        .flatten()
                        .map(|(key, value)| (format!("{prefix}{key}"), value.clone())),
                ),
                None if reference.optional == Some(true) => {}
                None => {
                    return Err(format!(
                        "configmap \"{}\" not found in namespace \"{namespace}\"",
                        reference.name
                    ));
                }
            }
        }
        if let Some(reference) = &source.secret_ref {
            match objects.get::<Secret>(namespace, &reference.name) {
                Some(secret) => env.extend(secret_values(&secret).map(|(key, value)| {
                    (
                        format!("{prefix}{key}"),
                        String::from_utf8_lossy(&value).into_owned(),
                    )
                })),
                None if reference.optional == Some(true) => {}
                None => {
                    return Err(format!(
                        "secret \"{}\" not found in namespace \"{namespace}\"",
                        reference.name
                    ));
                }
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(objects, pod, namespace, variable, &env)? {
            env.insert(variable.name.clone(), value);
        }
    }
    Ok(env)
}

fn value(
    objects: &Objects,
    pod: &Pod,
    namespace: &str,
    variable: &EnvVar,
    known: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(
            variable.value.as_deref().unwrap_or_default(),
            known,
        )));
    };
    let EnvVarSource {
        config_map_key_ref,
        secret_key_ref,
        field_ref,
        resource_field_ref,
        ..
    } = source;
    if let Some(reference) = config_map_key_ref {
        let map = objects.get::<ConfigMap>(namespace, &reference.name);
        let found = map.and_then(|map| map.data.as_ref()?.get(&reference.key).cloned());
        return found_or(found, reference.optional, || {
            format!(
                "key \"{}\" of configmap \"{}\" not found",
                reference.key, reference.name
            )
        });
    }
    if let Some(reference) = secret_key_ref {
        let secret = objects.get::<Secret>(namespace, &reference.name);
        let found = secret.and_then(|secret| {
            secret_values(&secret)
                .find(|(key, _)| *key == reference.key)
                .map(|(_, value)| value)
        });
        let found = found.map(|value| String::from_utf8_lossy(&value).into_owned());
        return found_or(found, reference.optional, || {
            format!(
                "key \"{}\" of secret \"{}\" not found",
                reference.key, reference.name
            )
        });
    }
    if let Some(reference) = field_ref {
        return field(pod, reference).map(Some);
    }
    if let Some(reference) = resource_field_ref {
        // Nothing limits a local pod: the machine's own limits are not worth inventing a number for.
        return Ok(Some(
            if reference.resource.ends_with("cpu") {
                "1"
            } else {
                "0"
            }
            .to_owned(),
        ));
    }
    Ok(Some(String::new()))
}

fn found_or(
    found: Option<String>,
    optional: Option<bool>,
    missing: impl FnOnce() -> String,
) -> Result<Option<String>, String> {
    match found {
        Some(value) => Ok(Some(value)),
        None if optional == Some(true) => Ok(None),
        None => Err(missing()),
    }
}

/// The decoded entries of a Secret; `stringData` wins, as it does on a real API server.
pub fn secret_values(secret: &Secret) -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut values: BTreeMap<String, Vec<u8>> = secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.0.clone()))
        .collect();
    values.extend(
        secret
            .string_data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone().into_bytes())),
    );
    values.into_iter()
}

/// A field of the pod by its downward API path.
///
/// # Errors
/// When the path names nothing that a pod offers.
pub fn field(pod: &Pod, selector: &ObjectFieldSelector) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let meta = &pod.metadata;
    let status = pod.status.as_ref();
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| Ok(value.cloned().unwrap_or_default());
    match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => Ok(spec
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_else(|| "default".into())),
        "status.podIP" | "status.podIPs" => text(status.and_then(|status| status.pod_ip.as_ref())),
        "status.hostIP" | "status.hostIPs" => {
            text(status.and_then(|status| status.host_ip.as_ref()))
        }
        _ => {
            let map = [
                ("metadata.labels['", meta.labels.as_ref()),
                ("metadata.annotations['", meta.annotations.as_ref()),
            ];
            let found = map.into_iter().find_map(|(start, map)| {
                Some((path.strip_prefix(start)?.strip_suffix("']")?, map))
            });
            match found {
                Some((key, map)) => Ok(map
                    .and_then(|map| map.get(key))
                    .cloned()
                    .unwrap_or_default()),
                None => Err(format!("unsupported fieldPath \"{path}\"")),
            }
        }
    }
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value:?}\n"));
    lines.collect()
}

/// `$(NAME)` becomes the value of NAME if it is known and stays as it is if not; `$$` is a dollar sign.
pub fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// `NAME_SERVICE_HOST` and `NAME_SERVICE_PORT` for the Services of the namespace.
fn service_links(objects: &Objects, namespace: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    for service in services(objects)
        .iter()
        .filter(|service| service.namespace == namespace)
    {
        let (Some(address), Some(port)) = (service.address, service.ports.first()) else {
            continue;
        };
        let name = service.name.to_ascii_uppercase().replace(['-', '.'], "_");
        links.push((format!("{name}_SERVICE_HOST"), address.to_string()));
        links.push((format!("{name}_SERVICE_PORT"), port.port.to_string()));
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Entropy, Key, Kind};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};
    use tombolo_kube::Codec;

    fn objects(bodies: &[(Kind, &str, Value)]) -> Objects {
        let mut objects = Objects::default();
        for (kind, name, body) in bodies {
            objects
                .create(
                    Key::new(*kind, "shop", name),
                    body.clone(),
                    Timestamp::UNIX_EPOCH,
                    &Entropy::seeded(1),
                )
                .unwrap();
        }
        objects
    }

    fn pod() -> Pod {
        Codec::from_json(&json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
            "status": {"podIP": "10.0.0.9"},
        }))
        .unwrap()
    }

    fn env(objects: &Objects, container: Value) -> Result<BTreeMap<String, String>, String> {
        resolve(objects, &pod(), &Codec::from_json(&container).unwrap())
    }

    #[test]
    fn dollar_parentheses_expand_only_what_came_before() {
        let env = env(
            &objects(&[]),
            json!({"name": "web", "env": [
            {"name": "LATE", "value": "$(HOST)"}, {"name": "HOST", "value": "db"},
            {"name": "URL", "value": "http://$(HOST)/$$(HOST)/$(NONE)/$5"}]}),
        )
        .unwrap();
        assert_eq!(env["URL"], "http://db/$(HOST)/$(NONE)/$5");
        assert_eq!(env["LATE"], "$(HOST)");
    }

    #[test]
    fn maps_secrets_and_fields_are_read() {
        let objects = objects(&[
            (
                Kind::ConfigMap,
                "settings",
                json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"mode": "fast"}}),
            ),
            (
                Kind::Secret,
                "keys",
                json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": "c2VjcmV0"}}),
            ),
        ]);
        let env = env(&objects, json!({"name": "web", "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "settings"}}], "env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": true}}}]})).unwrap();
        assert_eq!(
            (
                env["CFG_mode"].as_str(),
                env["TOKEN"].as_str(),
                env["IP"].as_str(),
                env["APP"].as_str()
            ),
            ("fast", "secret", "10.0.0.9", "web")
        );
        assert!(!env.contains_key("GONE"));
    }

    #[test]
    fn missing_configmap_is_named() {
        let error = env(
            &objects(&[]),
            json!({"name": "web", "envFrom": [{"configMapRef": {"name": "settings"}}]}),
        )
        .unwrap_err();
        assert!(
            error.contains("configmap \"settings\" not found"),
            "{error}"
        );
    }

    #[test]
    fn services_of_the_namespace_are_linked() {
        let objects = objects(&[(
            Kind::Service,
            "color-app",
            json!({"apiVersion": "v1", "kind": "Service",
            "spec": {"clusterIP": "10.100.0.20", "ports": [{"port": 8080}]}}),
        )]);
        let env = env(&objects, json!({"name": "web"})).unwrap();
        assert_eq!(env["COLOR_APP_SERVICE_HOST"], "10.100.0.20");
        assert_eq!(env["COLOR_APP_SERVICE_PORT"], "8080");
    }
}
