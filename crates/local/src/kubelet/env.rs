//! The environment of a container: literals, ConfigMaps, Secrets, the downward API, `$(NAME)`, Services.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use tombolo_kube::ObjectExt;

use super::references::{DataRef, ReferenceError, Source, field};
use crate::cluster::Objects;
use crate::cluster::service_view::services;

/// Variables by name.
pub(super) type Env = BTreeMap<String, String>;

/// The variables of a container in `pod`.
///
/// # Errors
/// The ConfigMap, Secret, key or field that is missing.
pub(super) fn resolve(
    objects: &Objects,
    pod: &Pod,
    container: &Container,
) -> Result<Env, ReferenceError> {
    let mut env = Env::new();
    if pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false) {
        env.extend(service_links(objects, pod.namespace()));
    }
    for source in container.env_from.iter().flatten() {
        let map = source.config_map_ref.as_ref();
        let map = map.map(|map| (Source::ConfigMap, &map.name, map.optional));
        let secret = source.secret_ref.as_ref();
        let secret = secret.map(|secret| (Source::Secret, &secret.name, secret.optional));
        for (source_kind, name, optional) in map.into_iter().chain(secret) {
            let data = DataRef {
                source: source_kind,
                name,
                optional,
            };
            let prefix = source.prefix.as_deref().unwrap_or_default();
            let data = data.data(objects, pod)?.into_iter();
            env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), text(value))));
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(objects, pod, variable, &env)? {
            env.insert(variable.name.clone(), value);
        }
    }
    Ok(env)
}

fn value(
    objects: &Objects,
    pod: &Pod,
    variable: &EnvVar,
    known: &Env,
) -> Result<Option<String>, ReferenceError> {
    let Some(source) = &variable.value_from else {
        let value = variable.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(value, known)));
    };
    let entry = |source, name: &str, optional, key: &str| {
        let data = DataRef {
            source,
            name,
            optional,
        };
        Ok(data.entry(objects, pod, key)?.map(text))
    };
    if let Some(map) = &source.config_map_key_ref {
        return entry(Source::ConfigMap, &map.name, map.optional, &map.key);
    }
    if let Some(secret) = &source.secret_key_ref {
        return entry(Source::Secret, &secret.name, secret.optional, &secret.key);
    }
    if let Some(selector) = &source.field_ref {
        return field(pod, selector).map(Some);
    }
    Ok(Some(match &source.resource_field_ref {
        // Local pods have no limits; Kubernetes would give the node's own numbers.
        Some(resource) if resource.resource.ends_with("cpu") => "1".to_owned(),
        Some(_) => "0".to_owned(),
        None => String::new(),
    }))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Replaces `$(NAME)` by the value of NAME if it is known, and `$$` by a dollar sign.
pub(super) fn expand(text: &str, known: &Env) -> String {
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

/// `NAME_SERVICE_HOST` and `NAME_SERVICE_PORT` of the Services of the namespace.
fn service_links(objects: &Objects, namespace: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    for service in services(objects) {
        if let (Some(address), Some(port)) = (service.address, service.ports.first())
            && service.namespace == namespace
        {
            let name = service.name.to_ascii_uppercase().replace(['-', '.'], "_");
            links.push((format!("{name}_SERVICE_HOST"), address.to_string()));
            links.push((format!("{name}_SERVICE_PORT"), port.port.to_string()));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Key, Kind, NameGenerator};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};
    use tombolo_kube::Codec;

    fn objects(bodies: &[(Kind, &str, Value)]) -> Objects {
        let (mut objects, names) = (Objects::default(), NameGenerator::seeded(1));
        for (kind, name, body) in bodies {
            let key = Key::new(*kind, "shop", name);
            let created = objects.create(key, body.clone(), Timestamp::UNIX_EPOCH, &names);
            created.unwrap();
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

    fn env(objects: &Objects, container: Value) -> Result<Env, String> {
        let container = Codec::from_json(&container).unwrap();
        resolve(objects, &pod(), &container).map_err(|error| error.to_string())
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
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"mode": "fast"}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": "c2VjcmV0"}});
        let objects = objects(&[
            (Kind::ConfigMap, "settings", map),
            (Kind::Secret, "keys", secret),
        ]);
        let env = env(&objects, json!({"name": "web", "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "settings"}}], "env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": true}}}]})).unwrap();
        for (name, value) in [
            ("CFG_mode", "fast"),
            ("TOKEN", "secret"),
            ("IP", "10.0.0.9"),
            ("APP", "web"),
        ] {
            assert_eq!(env[name], value);
        }
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
        let spec = json!({"clusterIP": "10.100.0.20", "ports": [{"port": 8080}]});
        let service = json!({"apiVersion": "v1", "kind": "Service", "spec": spec});
        let objects = objects(&[(Kind::Service, "color-app", service)]);
        let env = env(&objects, json!({"name": "web"})).unwrap();
        assert_eq!(env["COLOR_APP_SERVICE_HOST"], "10.100.0.20");
        assert_eq!(env["COLOR_APP_SERVICE_PORT"], "8080");
    }
}
