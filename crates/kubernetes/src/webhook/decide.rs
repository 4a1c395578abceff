//! What a webhook answers: pure, over a view of the cluster.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tombolo_kube::admit::{self, IpFamily};
use tombolo_kube::crd::{Kind, Resource};
use tombolo_kube::inject::{InjectConfig, Injection, NotInjected, inject};
use tombolo_kube::{ClusterObjects, Codec as _, ObjectExt as _};

use super::hook::Hook;
use super::patch;
use super::review::{Answer, Operation, Outcome, Request};

/// The operator's choices.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How pods are injected.
    pub inject: InjectConfig,
    /// The address family of the cluster's pods.
    pub family: IpFamily,
}

/// An answer and what it rests on.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) answer: Answer,
    /// The answer might be another one if the view lacks something that was created a moment ago: nobody is turned
    /// away before the API server itself was asked.
    pub(super) wants_fresh_view: bool,
}

impl Decision {
    fn whatever_the_view(answer: Answer) -> Self {
        Self {
            answer,
            wants_fresh_view: false,
        }
    }

    /// An answer that rests on the view if it is a refusal.
    fn of_view(answer: Answer) -> Self {
        let wants_fresh_view = matches!(answer.outcome, Outcome::Denied { .. });
        Self {
            answer,
            wants_fresh_view,
        }
    }
}

/// Answers a question.
pub(super) fn decide(
    hook: Hook,
    request: &Request,
    objects: &ClusterObjects,
    policy: &Policy,
) -> Decision {
    if matches!(request.operation, Operation::Delete | Operation::Connect) {
        return Decision::whatever_the_view(Answer::admitted());
    }
    let Some(object) = &request.object else {
        let answer = Answer::bad_request("the request has no object");
        return Decision::whatever_the_view(answer);
    };
    match hook {
        Hook::MutatePod => pod(request, object, objects, policy),
        Hook::Mutate(kind) => mutate(kind, request, object, objects, policy),
        Hook::Validate(kind) => validate(kind, request, object, objects),
    }
}

fn pod(request: &Request, object: &Value, objects: &ClusterObjects, policy: &Policy) -> Decision {
    if request.operation != Operation::Create {
        // The containers of a pod that exists cannot change.
        return Decision::whatever_the_view(Answer::admitted());
    }
    let pod = match Pod::from_json(object) {
        Ok(pod) => pod,
        Err(error) => return Decision::whatever_the_view(Answer::bad_request(error)),
    };
    let namespace = match pod.namespace() {
        // The API server fills it in after the webhooks.
        "" => &request.namespace,
        namespace => namespace,
    };
    match inject(&pod, namespace, objects, &policy.inject) {
        Ok(Injection::Injected { pod: injected, .. }) => {
            let patch = patch::diff(&pod.to_json(), &injected.to_json());
            Decision::whatever_the_view(Answer::patched(patch))
        }
        Ok(Injection::Untouched(why)) => Decision {
            answer: Answer::admitted().with_warnings(why.warning().map(str::to_owned)),
            wants_fresh_view: matches!(
                why,
                NotInjected::NotSelected
                    | NotInjected::BareAndNotSelected
                    | NotInjected::NamespaceNotLabelled
            ),
        },
        Err(violation) => Decision::of_view(Answer::forbidden(violation)),
    }
}

/// Defaults and membership. An object whose shape is not the kind's goes on as it is: the API server compares it with the
/// schema next, and says best what is wrong.
fn mutate(
    kind: Kind,
    request: &Request,
    object: &Value,
    objects: &ClusterObjects,
    policy: &Policy,
) -> Decision {
    let Ok(resource) = read(kind, request, object) else {
        return Decision::whatever_the_view(Answer::admitted());
    };
    let before = resource.to_json();
    let admitted = if request.operation == Operation::Create {
        if resource.name().is_empty() {
            let message = "metadata.generateName: is not supported, since spec.awsName follows from the name; give a metadata.name";
            return Decision::whatever_the_view(Answer::forbidden(message));
        }
        admit::default(resource, objects, policy.family)
    } else {
        let old = request.old_object.as_ref();
        match old.map(|old| read(kind, request, old)) {
            Some(Ok(old)) => Ok(admit::default_update(
                &old,
                resource,
                objects,
                policy.family,
            )),
            // It was admitted by somebody else; there is nothing to carry over.
            _ => Ok(resource),
        }
    };
    match admitted {
        Ok(resource) => {
            let patch = patch::diff(&before, &resource.to_json());
            Decision::whatever_the_view(Answer::patched(patch))
        }
        Err(violations) => Decision::of_view(Answer::forbidden(violations)),
    }
}

fn validate(kind: Kind, request: &Request, object: &Value, objects: &ClusterObjects) -> Decision {
    let new = match read(kind, request, object) {
        Ok(new) => new,
        Err(_) if is_being_deleted(object) => {
            return Decision::whatever_the_view(Answer::admitted());
        }
        Err(answer) => return Decision::whatever_the_view(answer),
    };
    let old = request.old_object.as_ref();
    let judged = match old.map(|old| read(kind, request, old)) {
        Some(Ok(old)) => admit::validate_update(&old, &new, objects),
        _ => admit::validate(&new),
    };
    match judged {
        Ok(()) => {
            let warnings = admit::warnings(&new, objects);
            Decision::whatever_the_view(Answer::admitted().with_warnings(warnings))
        }
        Err(violations) => Decision::of_view(Answer::forbidden(violations)),
    }
}

fn is_being_deleted(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|time| !time.is_null())
}

/// An object of a kind, in the namespace of the request.
fn read(kind: Kind, request: &Request, object: &Value) -> Result<Resource, Answer> {
    let decoded = Resource::decode(kind, object).map_err(Answer::forbidden)?;
    let mut resource = decoded.value;
    if kind.is_namespaced() && resource.namespace().is_empty() {
        resource.metadata_mut().namespace = Some(request.namespace.clone());
    }
    Ok(resource)
}
