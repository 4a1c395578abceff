//! Recorded calls of public walkthroughs, replayed.

use crate::server_and_boto;
use serde_json::{Value, json};
use tombolo_tests::{boto::Boto, corpus};

/// The walkthroughs whose calls make everything they use go from nothing to nothing; in between, what is
/// described is what was sent.
#[test]
fn self_contained_walkthroughs_replay_from_nothing_to_nothing() {
    let Some(walkthroughs) = corpus::walkthroughs() else {
        return;
    };
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    let mut replayed = Vec::new();
    for walkthrough in walkthroughs
        .into_iter()
        .filter(corpus::Walkthrough::is_self_contained)
    {
        for step in walkthrough.steps() {
            boto.call(&step.service, &step.operation, step.params.clone());
            check_spec(&mut boto, &step);
        }
        let left = boto.call("appmesh", "ListMeshes", json!({}));
        for mesh in left["meshes"].as_array().expect("a list") {
            empty(
                &mut boto,
                &walkthrough,
                mesh["meshName"].as_str().expect("a name"),
            );
        }
        replayed.push(walkthrough.name);
    }
    assert!(
        replayed.iter().any(|name| name == "howto-ingress-gateway"),
        "{replayed:?}"
    );
}

fn check_spec(boto: &mut Boto, step: &corpus::Step) {
    let kind = ["Create", "Update"]
        .iter()
        .find_map(|verb| step.operation.strip_prefix(verb));
    let (Some(kind), true) = (kind, step.service == "appmesh") else {
        return;
    };
    let names = step.params.as_object().expect("parameters are an object");
    let names: serde_json::Map<String, Value> = names
        .iter()
        .filter(|(name, _)| name.ends_with("Name"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut described = boto.call("appmesh", &format!("Describe{kind}"), names.into());
    let described = described
        .as_object_mut()
        .expect("an object")
        .values_mut()
        .next()
        .expect("it")["spec"]
        .take();
    let sent = step
        .params
        .get("spec")
        .cloned()
        .unwrap_or_else(|| json!({}));
    assert_eq!(described, sent, "{} {kind}", step.operation);
}

/// Some recordings end before everything is deleted; what is left can be deleted.
fn empty(boto: &mut Boto, walkthrough: &corpus::Walkthrough, mesh: &str) {
    println!("{} leaves the mesh {mesh}", walkthrough.name);
    for step in walkthrough.steps().iter().rev() {
        let Some(kind) = step.operation.strip_prefix("Create") else {
            continue;
        };
        let names = step.params.as_object().expect("parameters are an object");
        let names: serde_json::Map<String, Value> = names
            .iter()
            .filter(|(name, _)| name.ends_with("Name"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        match boto.attempt("appmesh", &format!("Delete{kind}"), names.into()) {
            Ok(_) => {}
            Err(raised) => assert_eq!(raised.class, "NotFoundException", "{raised:?}"),
        }
    }
}

#[test]
fn recorded_registry_calls_are_understood() {
    let Some(walkthroughs) = corpus::walkthroughs() else {
        return;
    };
    let Some((_server, mut boto)) = server_and_boto() else {
        return;
    };
    for walkthrough in walkthroughs {
        for step in walkthrough
            .steps()
            .iter()
            .filter(|step| step.service == "servicediscovery")
        {
            // Recorded ids are not ours, and discovery waits for pods that nobody runs here: then the
            // error must be the one that says so.
            if let Err(raised) = boto.attempt(&step.service, &step.operation, step.params.clone()) {
                let known = [
                    "NamespaceNotFound",
                    "ServiceNotFound",
                    "OperationNotFound",
                    "NamespaceAlreadyExists",
                ];
                assert!(
                    known.contains(&raised.class.as_str()),
                    "{}: {}: {raised:?}",
                    walkthrough.name,
                    step.operation
                );
            }
        }
    }
    let listed = boto.call("servicediscovery", "ListNamespaces", json!({}));
    assert!(!listed["Namespaces"].as_array().expect("a list").is_empty());
}
