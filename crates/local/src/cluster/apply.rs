//! `kubectl apply`: a set of manifests becomes objects, all of them or none.

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tombolo_kube::admit::{self, IpFamily};
use tombolo_kube::manifest::{self, Located, Manifests, Problem};
use tombolo_kube::{Codec, FieldPath, ObjectExt, Violation};

use super::mesh_object_cache::resource;
use super::object_store::{Key, Objects};
use super::{Kind, ReconcileContext, limits, pods};

/// Annotation of a pod with the spec of its manifest. Injection changes the pod, so its own spec cannot be compared
/// with a manifest.
const APPLIED: &str = "tombolo.dev/applied";

/// Prefixes of annotations that the cluster owns: applying a manifest without them keeps them.
const OWN_ANNOTATIONS: [&str; 2] = ["deployment.kubernetes.io/", "cloudMapServiceARN"];

/// The outcome for one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The object, as `kubectl` writes it: `deployment.apps/front`.
    pub object: String,
    /// The namespace; empty for kinds without one.
    pub namespace: String,
    /// Whether the object was created, changed or left as it was.
    pub outcome: Outcome,
}

impl Applied {
    fn new(key: Key, outcome: Outcome) -> Self {
        Self {
            object: key.to_string(),
            namespace: key.namespace,
            outcome,
        }
    }
}

/// The outcome of `apply` for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did not exist.
    Created,
    /// It changed.
    Configured,
    /// It was as the manifest says.
    Unchanged,
    /// It was read and not stored: its kind is not run here.
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

/// Applies manifests to `objects`, each object after those that it refers to.
///
/// # Errors
/// Every problem found, with file and line. `objects` is then half-changed and must be thrown away, so callers work
/// on a clone.
pub(crate) fn apply(
    objects: &mut Objects,
    manifests: Manifests,
    context: &ReconcileContext<'_>,
) -> Result<Vec<Applied>, Vec<Problem>> {
    let (mut outcomes, mut problems) = (Vec::new(), Vec::new());
    for located in manifests.into_apply_order() {
        match apply_object(objects, &located, context) {
            Ok(outcome) => outcomes.push(outcome),
            Err(violations) => problems.extend(
                violations
                    .iter()
                    .map(|violation| located.problem(violation)),
            ),
        }
    }
    if problems.is_empty() {
        Ok(outcomes)
    } else {
        Err(problems)
    }
}

fn apply_object(
    objects: &mut Objects,
    located: &Located<manifest::Object>,
    context: &ReconcileContext<'_>,
) -> Result<Applied, Vec<Violation>> {
    let object = &located.object;
    let Some(key) = Key::of(object) else {
        return Ok(Applied {
            object: located.title(),
            namespace: object.namespace().unwrap_or_default().to_owned(),
            outcome: Outcome::Ignored,
        });
    };
    if key.kind.namespaced() {
        let home = objects.object(&Key::new(Kind::Namespace, "", &key.namespace));
        if home.is_none_or(|home| home.terminating()) {
            let message = format!(
                "namespace \"{}\" does not exist; add it to the manifests",
                key.namespace
            );
            return Err(vec![Violation::new("metadata.namespace", message)]);
        }
    }
    if objects.object(&key).is_none() && objects.count() >= limits::MAX_OBJECTS {
        let message = format!("a cluster has at most {} objects here", limits::MAX_OBJECTS);
        return Err(vec![Violation::new(FieldPath::root(), message)]);
    }
    let violations = limits::check(object);
    if !violations.is_empty() {
        return Err(violations);
    }
    let body = match object {
        manifest::Object::Mesh(new) => admitted(objects, &key, new)?,
        manifest::Object::Pod(pod) => {
            let outcome = bare_pod(objects, &key, pod, context)?;
            return Ok(Applied::new(key, outcome));
        }
        manifest::Object::Namespace(object) => object.to_json(),
        manifest::Object::Deployment(object) => object.to_json(),
        manifest::Object::Service(object) => object.to_json(),
        manifest::Object::ConfigMap(object) => object.to_json(),
        manifest::Object::Secret(object) => object.to_json(),
        manifest::Object::Istio(_) | manifest::Object::NotRun(_) => {
            return Ok(Applied::new(key, Outcome::Ignored));
        }
    };
    let outcome = put(objects, &key, body, context);
    Ok(Applied::new(key, outcome))
}

/// A mesh object with the defaults of the admission webhooks. Errors are the webhooks' denials.
fn admitted(
    objects: &Objects,
    key: &Key,
    new: &tombolo_kube::crd::Resource,
) -> Result<Value, Vec<Violation>> {
    let admitted = match objects.object(key).and_then(|old| resource(old)) {
        Some(old) => admit::update(&old, new.clone(), IpFamily::V4),
        None => admit::create(new.clone(), objects.mesh(), IpFamily::V4),
    };
    Ok(admitted.map_err(|violations| violations.0)?.to_json())
}

fn bare_pod(
    objects: &mut Objects,
    key: &Key,
    pod: &Pod,
    context: &ReconcileContext<'_>,
) -> Result<Outcome, Vec<Violation>> {
    let denied = |field: &str, message: &str| Err(vec![Violation::new(field, message)]);
    let spec = pod.to_json()["spec"].to_string();
    if let Some(old) = objects.get::<Pod>(&key.namespace, &key.name) {
        return if old.is_terminating() {
            denied(
                "metadata.name",
                "a pod of this name is still terminating; try again when it is gone",
            )
        } else if old.annotation(APPLIED) == Some(&spec) {
            Ok(Outcome::Unchanged)
        } else {
            denied(
                "spec",
                "a running pod cannot be changed; delete it first, or use a Deployment",
            )
        };
    }
    let mut pod = pod.clone();
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(APPLIED.to_owned(), spec);
    match pods::create(objects, context, pod) {
        Ok(()) => Ok(Outcome::Created),
        Err(error) => denied("metadata", &error.to_string()),
    }
}

fn put(
    objects: &mut Objects,
    key: &Key,
    mut body: Value,
    context: &ReconcileContext<'_>,
) -> Outcome {
    let Some(old) = objects.object(key).map(|old| old.body.clone()) else {
        set_defaults(key.kind, &mut body);
        objects.create(key.clone(), body, context.now, context.names);
        return Outcome::Created;
    };
    carry_over(key.kind, &old, &mut body);
    if objects.replace(key, body) {
        Outcome::Configured
    } else {
        Outcome::Unchanged
    }
}

/// Fills in the API server's defaults that users rely on.
fn set_defaults(kind: Kind, body: &mut Value) {
    match kind {
        Kind::Deployment if body.pointer("/spec/replicas").is_none() => {
            body["spec"]["replicas"] = 1.into()
        }
        Kind::Namespace => body["status"]["phase"] = "Active".into(),
        _ => {}
    }
}

/// Copies into a new body the fields that the cluster added to the old one and the manifest does not mention.
fn carry_over(kind: Kind, old: &Value, new: &mut Value) {
    let annotations = old
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    for (name, value) in annotations.into_iter().flatten() {
        if OWN_ANNOTATIONS.iter().any(|own| name.starts_with(own)) {
            new["metadata"]["annotations"][name] = value.clone();
        }
    }
    match kind {
        Kind::Deployment => copy_missing(old, new, "/spec", &["replicas"]),
        Kind::Service => {
            copy_missing(old, new, "/spec", &["type", "clusterIP", "clusterIPs"]);
            let ports = |body: &Value| body.pointer("/spec/ports").cloned();
            let old_ports = ports(old).unwrap_or_default();
            let old_ports = old_ports.as_array().map_or(&[][..], Vec::as_slice);
            let new_ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
            for port in new_ports.into_iter().flatten() {
                let is_same = |old: &&Value| {
                    ["port", "name"]
                        .iter()
                        .all(|name| old.get(name) == port.get(name))
                };
                if let Some(old) = old_ports.iter().find(is_same) {
                    copy_missing(old, port, "", &["protocol", "nodePort"]);
                }
            }
        }
        _ => {}
    }
}

/// Copies members of the object at a pointer where the new one lacks them.
fn copy_missing(old: &Value, new: &mut Value, pointer: &str, members: &[&str]) {
    let target = new.pointer_mut(pointer).and_then(Value::as_object_mut);
    let (Some(old), Some(target)) = (old.pointer(pointer), target) else {
        return;
    };
    for member in members {
        if let (Some(value), false) = (old.get(member), target.contains_key(*member)) {
            target.insert((*member).to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testkit::NAMESPACE;
    use crate::cluster::{NameGenerator, service_allocator};
    use k8s_openapi::jiff::Timestamp;
    use tombolo_kube::manifest::Source;

    const SHOP: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}], selector: {app: web}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {mode: slow}
";

    /// Applies a document, after the namespace; the outcomes, or the first problem.
    fn run(objects: &mut Objects, document: &str) -> Result<Vec<Outcome>, String> {
        let text = [NAMESPACE, document].concat();
        let sources = [Source::new("shop.yaml", &text)];
        let read = manifest::read(&sources, &manifest::Options::default()).unwrap();
        let context = ReconcileContext {
            now: Timestamp::UNIX_EPOCH,
            names: &NameGenerator::seeded(1),
            inject: &|_, pod| Ok(pod),
        };
        let applied = apply(objects, read, &context);
        let outcomes = applied.map(|applied| applied.iter().map(|one| one.outcome).collect());
        outcomes.map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn applying_twice_changes_nothing_and_a_changed_field_is_configured() {
        use Outcome::{Configured, Created, Unchanged};
        let mut objects = Objects::default();
        assert_eq!(run(&mut objects, SHOP), Ok(vec![Created; 3]));
        service_allocator::reconcile(&mut objects, "10.100.0.0/16".parse().unwrap());
        assert_eq!(run(&mut objects, SHOP), Ok(vec![Unchanged; 3]));
        let mut changed = run(&mut objects, &SHOP.replace("slow", "fast")).unwrap();
        changed.sort_by_key(|outcome| *outcome == Configured);
        assert_eq!(changed, [Unchanged, Unchanged, Configured]);
    }

    #[test]
    fn more_than_a_machine_can_hold_is_refused_with_the_bound() {
        let deployment = |replicas: &str| {
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{a: b}}}}\n  template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: a, image: x}}]}}}}\n"
            )
        };
        let error = run(&mut Objects::default(), &deployment("2000000000")).unwrap_err();
        assert!(
            error.contains("shop.yaml:9") && error.contains("at most 1000 pods"),
            "{error}"
        );
        run(&mut Objects::default(), &deployment("1000")).unwrap();
        let containers = (0..=limits::MAX_CONTAINERS).map(|index| format!("c{index}"));
        let containers = containers.map(|name| format!("{{name: {name}, image: x}}"));
        let error = run(
            &mut Objects::default(),
            &pod(&containers.collect::<Vec<_>>()),
        );
        assert!(error.unwrap_err().contains("at most 100"));
    }

    #[test]
    fn object_of_a_missing_namespace_is_refused_with_its_line() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: gone\n";
        let error = run(&mut Objects::default(), text).unwrap_err();
        assert!(
            error.contains("shop.yaml:9") && error.contains("\"gone\" does not exist"),
            "{error}"
        );
    }

    fn pod(containers: &[String]) -> String {
        let containers = containers.join(", ");
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: one, namespace: shop}}\nspec: {{containers: [{containers}]}}\n"
        )
    }

    #[test]
    fn running_pod_cannot_be_changed_but_may_be_applied_again() {
        let pod = |image: &str| pod(&[format!("{{name: a, image: {image}}}")]);
        let mut objects = Objects::default();
        run(&mut objects, &pod("x")).unwrap();
        assert_eq!(
            run(&mut objects, &pod("x")),
            Ok(vec![Outcome::Unchanged; 2])
        );
        assert!(
            run(&mut objects, &pod("y"))
                .unwrap_err()
                .contains("delete it first")
        );
    }
}
