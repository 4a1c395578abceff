//! `apply`: a set of manifests becomes the cluster's wish, all of it or nothing.

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tombolo_kube::admit::{self, IpFamily};
use tombolo_kube::manifest::{self, Located, Manifests, Problem};
use tombolo_kube::{Codec as _, Denial, FieldPath};

use super::name::Entropy;
use super::object::{Key, Objects};
use super::view::{kind, resource};
use super::workload::Inject;
use super::workload::Moment;
use super::{Kind, limit, pods};

/// The annotation that remembers what a pod's manifest said, because injection changes the pod.
const APPLIED: &str = "tombolo.dev/applied";

/// Annotations that the cluster owns: applying a manifest without them does not take them away.
const OWN_ANNOTATIONS: [&str; 2] = ["deployment.kubernetes.io/", "cloudMapServiceARN"];

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The object, as `kubectl` writes it: `deployment.apps/front`.
    pub object: String,
    /// Its namespace; empty if it has none.
    pub namespace: String,
    /// What happened.
    pub outcome: Outcome,
}

/// See [`Applied`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is new.
    Created,
    /// It changed.
    Configured,
    /// It was as asked already.
    Unchanged,
    /// It was read, but objects of its kind are not run here.
    Ignored,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Ignored => "ignored",
        })
    }
}

/// Applies manifests to `objects`, in an order in which nothing is needed before it is there.
///
/// # Errors
/// Everything that was refused, with file and line; `objects` is then half-changed and must be thrown away, so
/// callers work on a clone.
pub fn apply(
    objects: &mut Objects,
    manifests: Manifests,
    now: Timestamp,
    entropy: &Entropy,
    inject: &Inject,
) -> Result<Vec<Applied>, Vec<Problem>> {
    let (mut outcomes, mut problems) = (Vec::new(), Vec::new());
    let moment = Moment {
        now,
        entropy,
        inject,
    };
    for located in manifests.into_apply_order() {
        match one(objects, &located, &moment) {
            Ok(outcome) => outcomes.push(outcome),
            Err(denials) => problems.extend(denials.iter().map(|denial| located.problem(denial))),
        }
    }
    if problems.is_empty() {
        Ok(outcomes)
    } else {
        Err(problems)
    }
}

fn one(
    objects: &mut Objects,
    located: &Located<manifest::Object>,
    moment: &Moment<'_>,
) -> Result<Applied, Vec<Denial>> {
    let object = &located.object;
    let namespace = object.namespace().unwrap_or_default().to_owned();
    let Some(kind) = kind(object) else {
        return Ok(Applied {
            object: located.title(),
            namespace,
            outcome: Outcome::Ignored,
        });
    };
    let key = Key::new(kind, &namespace, object.name());
    if kind.namespaced() {
        let home = objects.object(&Key::new(Kind::Namespace, "", &namespace));
        if home.is_none_or(|home| home.terminating()) {
            let message =
                format!("namespace \"{namespace}\" does not exist; add it to the manifests");
            return Err(vec![Denial::new("metadata.namespace", message)]);
        }
    }
    if objects.object(&key).is_none() && objects.count() >= limit::MAX_OBJECTS {
        let message = format!("a cluster has at most {} objects here", limit::MAX_OBJECTS);
        return Err(vec![Denial::new(FieldPath::root(), message)]);
    }
    let outcome = match object {
        manifest::Object::Mesh(new) => mesh(objects, &key, new, moment)?,
        manifest::Object::Pod(pod) => {
            let denials = limit::pod(pod.spec.as_ref(), "spec");
            if !denials.is_empty() {
                return Err(denials);
            }
            bare_pod(objects, &key, pod, &pod.to_json(), moment)?
        }
        manifest::Object::Namespace(object) => put(objects, &key, object.to_json(), moment),
        manifest::Object::Deployment(object) => {
            let spec = object.spec.as_ref();
            let pod = spec.and_then(|spec| spec.template.spec.as_ref());
            let mut denials = limit::pod(pod, "spec.template.spec");
            denials.extend(limit::replicas(spec.and_then(|spec| spec.replicas)));
            if !denials.is_empty() {
                return Err(denials);
            }
            put(objects, &key, object.to_json(), moment)
        }
        manifest::Object::Service(object) => put(objects, &key, object.to_json(), moment),
        manifest::Object::ConfigMap(object) => put(objects, &key, object.to_json(), moment),
        manifest::Object::Secret(object) => put(objects, &key, object.to_json(), moment),
        manifest::Object::Istio(_) | manifest::Object::NotRun(_) => Outcome::Ignored,
    };
    Ok(Applied {
        object: key.to_string(),
        namespace: key.namespace,
        outcome,
    })
}

fn mesh(
    objects: &mut Objects,
    key: &Key,
    new: &tombolo_kube::crd::Resource,
    moment: &Moment<'_>,
) -> Result<Outcome, Vec<Denial>> {
    let admitted = match objects.object(key).and_then(|old| resource(old)) {
        Some(old) => admit::update(&old, new.clone(), IpFamily::V4),
        None => admit::create(new.clone(), objects.mesh(), IpFamily::V4),
    };
    let admitted = admitted.map_err(|denials| denials.0)?;
    Ok(put(objects, key, admitted.to_json(), moment))
}

fn bare_pod(
    objects: &mut Objects,
    key: &Key,
    pod: &k8s_openapi::api::core::v1::Pod,
    body: &Value,
    moment: &Moment<'_>,
) -> Result<Outcome, Vec<Denial>> {
    let written = body.get("spec").map(Value::to_string).unwrap_or_default();
    if let Some(old) = objects.object(key) {
        if old.terminating() {
            return Err(vec![Denial::new(
                "metadata.name",
                "a pod of this name is still ending; try again when it is gone",
            )]);
        }
        let before = old
            .meta
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(APPLIED));
        return if before == Some(&written) {
            Ok(Outcome::Unchanged)
        } else {
            Err(vec![Denial::new(
                "spec",
                "a running pod cannot be changed; delete it first, or use a Deployment",
            )])
        };
    }
    let mut pod = pod.clone();
    pod.metadata
        .annotations
        .get_or_insert_default()
        .insert(APPLIED.to_owned(), written);
    pods::create(objects, moment, pod).map_err(|message| vec![Denial::new("metadata", message)])?;
    Ok(Outcome::Created)
}

fn put(objects: &mut Objects, key: &Key, mut body: Value, moment: &Moment<'_>) -> Outcome {
    let Some(old) = objects.object(key).map(|old| old.body.clone()) else {
        complete(key.kind, &mut body);
        objects.create(key.clone(), body, moment.now, moment.entropy);
        return Outcome::Created;
    };
    carry_over(key.kind, &old, &mut body);
    if objects.replace(key, body, true) {
        Outcome::Configured
    } else {
        Outcome::Unchanged
    }
}

/// What the API server fills in on creation and users rely on.
fn complete(kind: Kind, body: &mut Value) {
    match kind {
        Kind::Deployment if body.pointer("/spec/replicas").is_none() => {
            body["spec"]["replicas"] = 1.into()
        }
        Kind::Namespace => body["status"]["phase"] = "Active".into(),
        _ => {}
    }
}

/// Takes into a new body what the cluster had added to the old one and the manifest does not mention.
fn carry_over(kind: Kind, old: &Value, new: &mut Value) {
    if let Some(annotations) = old
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
    {
        let own = annotations
            .iter()
            .filter(|(name, _)| OWN_ANNOTATIONS.iter().any(|own| name.starts_with(own)));
        let own: Map<String, Value> = own
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in own {
            new["metadata"]["annotations"][name] = value;
        }
    }
    match kind {
        Kind::Deployment => keep(old, new, "/spec", "replicas"),
        Kind::Service => {
            for field in ["type", "clusterIP", "clusterIPs"] {
                keep(old, new, "/spec", field);
            }
            let same = |one: &Value, other: &Value| {
                one.get("port") == other.get("port") && one.get("name") == other.get("name")
            };
            let old_ports = old
                .pointer("/spec/ports")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            for port in new
                .pointer_mut("/spec/ports")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(before) = old_ports.iter().find(|before| same(before, port)) {
                    keep(before, port, "", "protocol");
                    keep(before, port, "", "nodePort");
                }
            }
        }
        _ => {}
    }
}

fn keep(old: &Value, new: &mut Value, parent: &str, field: &str) {
    let value = old.pointer(parent).and_then(|parent| parent.get(field));
    let target = new.pointer_mut(parent).and_then(Value::as_object_mut);
    if let (Some(value), Some(target)) = (value, target)
        && !target.contains_key(field)
    {
        target.insert(field.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_kube::manifest::Source;

    const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}], selector: {app: web}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {mode: slow}
";

    fn run(objects: &mut Objects, text: &str) -> Result<Vec<(String, Outcome)>, Vec<String>> {
        let read = manifest::read(
            &[Source::new("shop.yaml", text)],
            &manifest::Options::default(),
        )
        .unwrap();
        let applied = apply(
            objects,
            read,
            Timestamp::UNIX_EPOCH,
            &Entropy::seeded(1),
            &|_, pod| Ok(pod),
        );
        applied
            .map(|applied| {
                applied
                    .into_iter()
                    .map(|applied| (applied.object, applied.outcome))
                    .collect()
            })
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn applying_twice_changes_nothing_and_a_changed_field_is_configured() {
        let mut objects = Objects::default();
        assert!(
            run(&mut objects, SHOP)
                .unwrap()
                .iter()
                .all(|(_, outcome)| *outcome == Outcome::Created)
        );
        crate::cluster::service::reconcile(&mut objects, "10.100.0.0/16".parse().unwrap());
        assert!(
            run(&mut objects, SHOP)
                .unwrap()
                .iter()
                .all(|(_, outcome)| *outcome == Outcome::Unchanged)
        );
        let changed = run(&mut objects, &SHOP.replace("slow", "fast")).unwrap();
        let configured: Vec<_> = changed
            .iter()
            .filter(|(_, outcome)| *outcome == Outcome::Configured)
            .collect();
        assert_eq!(
            configured,
            [&("configmap/settings".to_owned(), Outcome::Configured)]
        );
    }

    #[test]
    fn more_than_a_machine_can_hold_is_refused_with_the_bound() {
        let deployment = |replicas: &str| {
            format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{a: b}}}}\n  template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: a, image: x}}]}}}}\n"
            )
        };
        let problems = run(&mut Objects::default(), &deployment("2000000000")).unwrap_err();
        assert!(
            problems[0].contains("shop.yaml:9") && problems[0].contains("at most 1000 pods"),
            "{problems:?}"
        );
        run(&mut Objects::default(), &deployment("1000")).unwrap();
        let containers: Vec<String> = (0..=limit::MAX_CONTAINERS)
            .map(|number| format!("{{name: c{number}, image: x}}"))
            .collect();
        let containers = containers.join(", ");
        let pod = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}\nspec: {{containers: [{containers}]}}\n"
        );
        let problems = run(&mut Objects::default(), &pod).unwrap_err();
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("at most 100")),
            "{problems:?}"
        );
    }

    #[test]
    fn object_of_a_missing_namespace_is_refused_with_its_line() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: gone\n";
        let problems = run(&mut Objects::default(), text).unwrap_err();
        assert!(
            problems[0].contains("shop.yaml:5") && problems[0].contains("\"gone\" does not exist"),
            "{problems:?}"
        );
    }

    #[test]
    fn running_pod_cannot_be_changed_but_may_be_applied_again() {
        let pod = |image: &str| {
            format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: one, namespace: shop}}\nspec: {{containers: [{{name: a, image: {image}}}]}}\n"
            )
        };
        let mut objects = Objects::default();
        run(&mut objects, &pod("x")).unwrap();
        assert_eq!(
            run(&mut objects, &pod("x")).unwrap()[1].1,
            Outcome::Unchanged
        );
        assert!(run(&mut objects, &pod("y")).unwrap_err()[0].contains("delete it first"));
    }
}
