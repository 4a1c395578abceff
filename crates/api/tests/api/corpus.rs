//! Recorded calls of public walkthroughs. The recordings lie outside of the project:
//! `TOMBOLO_CORPUS` names their directory.

use crate::harness::{Answer, Api};
use serde_json::Value;
use std::fs;

/// Walkthroughs whose recording makes everything that it uses.
const SELF_CONTAINED: [&str; 3] = [
    "howto-ingress-gateway",
    "howto-match-and-rewrite-at-ingress",
    "howto-mutual-tls-file-provided",
];

/// The recordings: name and steps.
fn recordings() -> Vec<(String, Vec<Value>)> {
    let Some(corpus) = tombolo_need::variable("TOMBOLO_CORPUS") else {
        return Vec::new();
    };
    let mut recordings = Vec::new();
    for entry in fs::read_dir(corpus).expect("a readable directory") {
        let entry = entry.expect("a readable entry");
        if let Ok(text) = fs::read_to_string(entry.path().join("cli/steps.json")) {
            let steps = serde_json::from_str(&text).expect("recordings are JSON lists");
            recordings.push((entry.file_name().to_string_lossy().into_owned(), steps));
        }
    }
    recordings.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!recordings.is_empty(), "the corpus has recordings");
    recordings
}

async fn replay(api: &Api, step: &Value) -> Option<Answer> {
    let http = &step["http"];
    match step["service"].as_str() {
        Some("appmesh") => {
            let path = http["path"].as_str()?.strip_prefix("/v20190125")?;
            let query: Vec<String> = (http["query"].as_object().into_iter().flatten())
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            let target = match query.is_empty() {
                true => path.to_owned(),
                false => format!("{path}?{}", query.join("&")),
            };
            Some(
                api.mesh(http["method"].as_str()?, &target, http["body"].clone())
                    .await,
            )
        }
        Some("servicediscovery") => {
            let operation = step["operation"].as_str()?;
            Some(api.registry(operation, http["body"].clone()).await)
        }
        _ => None,
    }
}

#[tokio::test]
async fn self_contained_walkthroughs_run_to_their_end() {
    for (name, steps) in recordings() {
        if !SELF_CONTAINED.contains(&name.as_str()) {
            continue;
        }
        let api = Api::new();
        for step in &steps {
            let what = format!("{name} step {} {}", step["n"], step["operation"]);
            let answer = replay(&api, step)
                .await
                .unwrap_or_else(|| panic!("{what}: no call"));
            assert_eq!(answer.status, 200, "{what}: {}", answer.text);
            if let Some(spec) = step["http"]["body"].get("spec") {
                assert_eq!(answer.json()["spec"], *spec, "{what}: as it was sent");
            }
        }
        let left = api.mesh("GET", "/meshes", Value::Null).await.ok();
        assert_eq!(left["meshes"], serde_json::json!([]), "{name} cleans up");
    }
}

#[tokio::test]
async fn every_recorded_call_is_understood() {
    for (name, steps) in recordings() {
        let api = Api::new();
        for step in &steps {
            let what = format!("{name} step {} {}", step["n"], step["operation"]);
            let answer = replay(&api, step)
                .await
                .unwrap_or_else(|| panic!("{what}: no call"));
            let code = answer.header("x-amzn-errortype");
            // What the walkthrough set up by other means is not there; nothing else may fail.
            let is_missing = code == "NotFoundException" || code.ends_with("NotFound");
            assert!(
                answer.status == 200 || is_missing,
                "{what}: {}",
                answer.text
            );
        }
    }
}
