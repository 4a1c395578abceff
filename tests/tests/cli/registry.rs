//! `registry sync`: one server plays AWS, another one imports from it.

use crate::fixture::Cli;
use serde_json::json;
use tombolo_tests::{Server, until};

/// Namespace, service and instances, as documents of the source.
fn documents(instances: &[(&str, &str)]) -> String {
    let mut documents = vec![
        json!({"apiVersion": "servicediscovery/2017-03-14", "kind": "Namespace",
            "metadata": {"name": "shop.local"}, "spec": {"Type": "HTTP"}}),
        json!({"apiVersion": "servicediscovery/2017-03-14", "kind": "Service",
            "metadata": {"name": "color", "namespace": "shop.local"}, "spec": {}}),
    ];
    documents.extend(instances.iter().map(|(id, address)| {
        json!({"apiVersion": "servicediscovery/2017-03-14", "kind": "Instance",
            "metadata": {"name": id, "namespace": "shop.local", "service": "color"},
            "spec": {"Attributes": {"AWS_INSTANCE_IPV4": address}}})
    }));
    crate::kinds::text(&documents)
}

/// The ids and addresses of what is found.
fn found(tool: &Cli) -> Vec<(String, String)> {
    let list = tool.json(&[
        "get",
        "instances",
        "-n",
        "shop.local",
        "--service",
        "color",
        "-o",
        "json",
    ]);
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<_> = items
        .iter()
        .map(|item| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let address = &item["spec"]["Attributes"]["AWS_INSTANCE_IPV4"];
            (text(&item["metadata"]["name"]), text(address))
        })
        .collect();
    found.sort();
    found
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn instances_of_another_cloud_map_are_imported_and_followed() {
    let (Some(tool), Some(aws)) = (Cli::start(), Server::start()) else {
        return;
    };
    let source = format!("http://{}", aws.api());
    let api = ["--api", source.as_str()];
    let at_source = |words: &[&str], input: &str| {
        tool.succeeds_with(&[words, &api[..]].concat(), input);
    };
    let apply = ["apply", "-f", "-"];
    at_source(&apply, &documents(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]));

    let once = ["registry", "sync", "--from", &source, "--once"];
    tool.succeeds(&once);
    assert_eq!(found(&tool), pairs(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]));
    let revision = tool.server.revision();
    tool.succeeds(&once);
    assert_eq!(tool.server.revision(), revision, "nothing has changed");

    // One that registers here is of the same service, and stays.
    tool.succeeds_with(&apply, &documents(&[("ours", "10.1.0.1")]));
    let mut follow =
        tool.start_program(&["registry", "sync", "--from", &source, "--interval", "1"]);
    at_source(&apply, &documents(&[("a", "10.0.0.9"), ("c", "10.0.0.3")]));
    at_source(
        &[
            "delete",
            "instance",
            "b",
            "-n",
            "shop.local",
            "--service",
            "color",
        ],
        "",
    );
    let wanted = pairs(&[("a", "10.0.0.9"), ("c", "10.0.0.3"), ("ours", "10.1.0.1")]);
    until("the source is followed", || {
        (found(&tool) == wanted).then_some(())
    });
    follow.kill();

    // A source that does not answer takes nothing away.
    drop(aws);
    tool.fails_with(&once, "");
    assert_eq!(found(&tool), wanted);
}
