//! Invalid input to `tombolo up`: the message has the place, the cause and the next step, and nothing starts.

use crate::sample::{IMAGES, Sample};
use std::net::TcpListener;
use tombolo_tests::{ProxyKind, Up};

/// The error output for a cluster with this manifest.
fn refused(manifest: &str) -> Option<String> {
    let up = Up::new(ProxyKind::Tombolo)?
        .cluster("c", manifest)
        .images(IMAGES);
    Some(up.refused())
}

#[track_caller]
fn assert_says(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
}

#[test]
fn manifests_that_are_wrong_are_refused_with_file_and_line() {
    let colors = Sample::plain().colors();
    let cases: [(String, &[&str]); 6] = [
        ("a: [1,\nb: }".into(), &["c.yaml:2", "YAML"]),
        (
            "apiVersion: v1\nkind: Potato\nmetadata: { name: x }".into(),
            &["c.yaml:2", "Potato", "known are"],
        ),
        (
            colors.replacen("replicas:", "replica:", 1),
            &["c.yaml:", "spec.replica", "no such field"],
        ),
        (
            colors.replacen(
                "{ name: paint-red }, weight",
                "{ name: paint-green }, weight",
                1,
            ),
            &[
                "c.yaml:",
                "weightedTargets[0].virtualNodeRef",
                "paint-green",
                "create it",
            ],
        ),
        (
            colors.replacen(
                "podSelector: { matchLabels: { app: paint, version: red } }",
                "podSelector: { matchLabels: { app: paint } }",
                1,
            ),
            &["c.yaml:", "paint-blue", "paint-red", "podSelector"],
        ),
        (
            colors.replacen(
                "port: 8080, protocol: http",
                "port: 70000, protocol: http",
                1,
            ),
            &["c.yaml:", "listeners[0].portMapping.port"],
        ),
    ];
    for (manifest, words) in cases {
        let Some(told) = refused(&manifest) else {
            return;
        };
        assert_says(&told, words);
        assert_says(&told, &["nothing was started"]);
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let colors = Sample::plain().colors().replace("replicas:", "replica:");
    let Some(told) = refused(&colors) else { return };
    assert_eq!(told.matches("no such field").count(), 2, "{told}");
}

#[test]
fn an_image_without_a_command_is_refused_with_the_line_to_add() {
    let Some(up) = Up::new(ProxyKind::Tombolo) else {
        return;
    };
    let images = "images:\n  \"*front*\": { command: [\"true\"] }\n";
    let told = up
        .cluster("c", &Sample::plain().colors())
        .images(images)
        .refused();
    assert_says(
        &told,
        &["c.yaml:", "registry.test/color", "images.yaml", "command:"],
    );
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let Some(up) = Up::new(ProxyKind::Tombolo) else {
        return;
    };
    let told = up
        .cluster("c", &Sample::plain().colors())
        .images(IMAGES)
        .option(&["--api", &address])
        .refused();
    assert_says(&told, &[&address, "--api"]);
}
