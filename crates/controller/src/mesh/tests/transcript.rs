//! The calls of AWS's controller for the public walkthroughs, as recorded on real clusters, are the calls of this one.
//!
//! Order within a step is not compared: AWS's is random. Of its calls those are recorded that changed something.

use super::kubernetes::run_kubernetes;
use super::*;
use crate::registry;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;

const TRANSCRIPT: &str = include_str!("../../../testdata/transcript.json");

#[derive(Deserialize)]
struct Step {
    /// The manifest that was applied; absent: everything was deleted.
    apply: Option<String>,
    /// The cluster, or the clusters.
    #[serde(default)]
    cluster: String,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    call: String,
    spec: Option<Value>,
}

/// The text of a walkthrough's manifest. Those of others are where `TOMBOLO_CORPUS` says.
fn manifest(scenario: &str, file: &str) -> Option<String> {
    let path = match scenario {
        "color" => {
            let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            root.join("../../examples/color").join(file)
        }
        _ => {
            let root = tombolo_need::variable("TOMBOLO_CORPUS")?;
            root.join(scenario).join("manifests").join(file)
        }
    };
    Some(
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
}

/// A spec without what is as good as absent.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| {
                !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
            });
            members
                .map(|(name, value)| (name.clone(), pruned(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

/// Calls since the last time that change something.
fn changes(api: &FakeApi) -> Vec<String> {
    let is_change = |call: &String| {
        ["create", "update", "delete"].contains(&call.split(' ').next().unwrap_or_default())
    };
    let calls = api.calls().into_iter().filter(is_change);
    let calls = calls.filter_map(|call| match call.split_once(' ') {
        Some((verb, name)) if !name.starts_with("mesh/") => {
            // Services go later than AWS's controller deletes them, and only if they are its own.
            let service = name.rsplit('/').next().unwrap_or(name);
            (verb == "create").then(|| format!("create service {service}"))
        }
        _ => Some(call),
    });
    calls.collect()
}

fn spec_of(api: &FakeApi, resource: &str) -> Value {
    let key = tombolo_model::arn::parse_resource(resource).unwrap_or_else(|| panic!("{resource}"));
    let spec = serde_json::to_value(api.spec(&key.key)).unwrap();
    // By the name of its kind.
    let members = spec.as_object().and_then(|members| members.values().next());
    pruned(members.unwrap_or_else(|| panic!("{resource} is not there")))
}

async fn replay(scenario: &str, steps: &[Step]) {
    let api = Arc::new(FakeApi::default());
    let clusters = [FakeCluster::kubernetes("a"), FakeCluster::kubernetes("b")];
    run_kubernetes(&clusters, &api);
    let options = Options {
        adopt: true,
        ..Options::new("kubernetes")
    };
    let registry =
        registry::Controller::new(clusters.to_vec(), api.clone(), options, Arc::new(|_| {}));
    tokio::spawn(registry.run(Arc::new(Notify::new())));
    for step in steps {
        let name = step.apply.as_deref().unwrap_or("the deletion");
        match &step.apply {
            Some(file) => {
                let Some(manifest) = manifest(scenario, file) else {
                    return;
                };
                for namespace in namespaces(&manifest) {
                    api.add_namespace(&namespace);
                }
                let named = clusters
                    .iter()
                    .filter(|cluster| step.cluster.split(' ').any(|name| name == cluster.name()));
                named.for_each(|cluster| cluster.apply(&manifest));
            }
            None => clusters.iter().for_each(|cluster| cluster.delete_all()),
        }
        let mut expected: Vec<&str> = step.calls.iter().map(|call| call.call.as_str()).collect();
        expected.sort_unstable();
        // Long enough for everything that waits for something else.
        tokio::time::sleep(Duration::from_secs(90)).await;
        let mut calls = changes(&api);
        calls.sort_unstable();
        assert_eq!(calls, expected, "{scenario}: {name}");
        for call in &step.calls {
            if let (Some(spec), Some((_, resource))) = (&call.spec, call.call.split_once(' ')) {
                let ours = spec_of(&api, resource);
                assert_eq!(&ours, &pruned(spec), "{scenario}: {name}: {resource}");
            }
        }
    }
    assert_eq!(api.resources(), Vec::<String>::new(), "{scenario}");
}

/// The Cloud Map namespaces that a manifest names: made by hand in the walkthroughs.
fn namespaces(manifest: &str) -> Vec<String> {
    let names = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("namespaceName:"));
    names.map(|name| name.trim().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn walkthroughs_lead_to_the_calls_of_the_original_controller() {
    let all: BTreeMap<String, Vec<Step>> = serde_json::from_str(TRANSCRIPT).unwrap();
    for (scenario, steps) in &all {
        replay(scenario, steps).await;
    }
}
