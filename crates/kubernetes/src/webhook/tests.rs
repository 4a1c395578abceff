mod https;
mod transcript;

use clap::{Args as _, FromArgMatches as _};
use serde_json::{Value, json};
use tombolo_kube::ClusterObjects;

use super::decide::{Policy, decide};
use super::hook::Hook;
use super::options::Webhook;
use super::review::{Answer, Operation, Outcome, Request};

const KUBERNETES: &str = "v1.34.4";

/// The options of a command line.
fn options(arguments: &[&str]) -> Webhook {
    let command = Webhook::augment_args(clap::Command::new("webhook").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments);
    let matches = matches.unwrap_or_else(|error| panic!("{error}"));
    Webhook::from_arg_matches(&matches).expect("every option has a value")
}

fn policy(arguments: &[&str]) -> Policy {
    options(arguments)
        .policy(KUBERNETES)
        .expect("they fit together")
}

fn request(
    operation: Operation,
    namespace: &str,
    object: Value,
    old_object: Option<Value>,
) -> Request {
    Request {
        uid: "u".to_owned(),
        namespace: namespace.to_owned(),
        operation,
        object: Some(object),
        old_object,
    }
}

/// The object that an answer makes of the one that was asked about.
fn patched(answer: &Answer, object: &Value) -> Result<Value, String> {
    match &answer.outcome {
        Outcome::Denied { message, .. } => Err(message.clone()),
        Outcome::Admitted(patch) => {
            let patch = serde_json::to_value(patch).expect("operations");
            let patch: json_patch::Patch = serde_json::from_value(patch).expect("a JSON Patch");
            let mut object = object.clone();
            json_patch::patch(&mut object, &patch).expect("it applies");
            Ok(object)
        }
    }
}

#[test]
fn the_image_says_which_sidecar_it_is() {
    let config = |arguments: &[&str]| policy(arguments).inject;
    let aws = "111122223333.dkr.ecr.us-west-2.amazonaws.com/aws-appmesh-envoy:v1";
    let ours = config(&["--sidecar-image=example.com/tombolo:1"]);
    assert_eq!(ours.sidecar.args, ["proxy"]);
    assert_eq!(
        (ours.init_image.as_str(), ours.init_args.len()),
        ("example.com/tombolo:1", 1)
    );
    assert_eq!(ours.other_sidecar.expect("an Envoy").args, [""; 0]);

    let kept = config(&[
        &format!("--sidecar-image={aws}"),
        "--init-image=example.com/tombolo:1",
    ]);
    assert_eq!(kept.sidecar.image, aws);
    assert_eq!(
        kept.sidecar.args, [""; 0],
        "the values of AWS's chart may stay"
    );
    assert_eq!(
        kept.other_sidecar.expect("ours").image,
        "example.com/tombolo:1"
    );

    let manager = "example.com/aws-appmesh-proxy-route-manager:v7-prod";
    let both = config(&["--sidecar-proxy=envoy", &format!("--init-image={manager}")]);
    assert_eq!(both.init_args, [""; 0]);
    assert_eq!(both.other_sidecar, None);

    let error = options(&[]).policy(KUBERNETES).expect_err("no image");
    assert_eq!(
        error.to_string(),
        "--sidecar-image: give it, or --sidecar-proxy=envoy"
    );
    let two = [
        "--sidecar-image=t",
        "--enable-xray-tracing",
        "--enable-jaeger-tracing=true",
    ];
    let error = options(&two).policy(KUBERNETES).expect_err("two tracers");
    assert!(
        error.to_string().contains("a sidecar has one tracer"),
        "{error}"
    );
}

#[test]
fn deletions_and_status_are_nobodys_business() {
    let policy = policy(&["--sidecar-image=t"]);
    let question = request(Operation::Delete, "n", json!({"metadata": {}}), None);
    let hook = Hook::from_path("/validate-appmesh-k8s-aws-v1beta2-mesh").expect("a hook");
    let decision = decide(hook, &question, &ClusterObjects::new(), &policy);
    assert_eq!(decision.answer, Answer::admitted());
}

/// Fields that our types do not know, of a newer API server, stay as they are.
#[test]
fn unknown_fields_are_left_alone() {
    let policy = policy(&["--sidecar-image=t"]);
    let mut objects = ClusterObjects::new();
    let labels = [(
        tombolo_kube::inject::SWITCH.to_owned(),
        "enabled".to_owned(),
    )];
    objects.put_namespace("n", labels.into());
    for (kind, object) in [
        (
            "Mesh",
            json!({"metadata": {"name": "m", "uid": "1"}, "spec": {"awsName": "m", "namespaceSelector": {}}}),
        ),
        (
            "VirtualNode",
            json!({"metadata": {"name": "v", "namespace": "n"}, "spec": {
                "awsName": "v_n", "podSelector": {}, "meshRef": {"name": "m", "uid": "1"},
            }}),
        ),
    ] {
        let kind = tombolo_kube::crd::Kind::from_name(kind).expect("a kind");
        let decoded = tombolo_kube::crd::Resource::decode(kind, &object).expect("its shape");
        objects.put(decoded.value);
    }
    let pod = json!({
        "metadata": {"name": "p", "newField": 1},
        "spec": {"newField": {"a": 1}, "containers": [{"name": "app", "newField": 2}]},
    });
    let question = request(Operation::Create, "n", pod.clone(), None);
    let decision = decide(Hook::MutatePod, &question, &objects, &policy);
    let injected = patched(&decision.answer, &pod).expect("admitted");
    for path in [
        "/metadata/newField",
        "/spec/newField/a",
        "/spec/containers/0/newField",
    ] {
        assert_eq!(injected.pointer(path), pod.pointer(path), "{path}");
    }
    assert_eq!(
        injected.pointer("/spec/initContainers/1/name"),
        Some(&json!("envoy"))
    );
}
