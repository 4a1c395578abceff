//! The metrics of a server compared with their catalogue.

use std::collections::{BTreeMap, BTreeSet};
use tombolo_tests::{
    Server,
    http::{Connection, Request},
};

const CATALOGUE: &str = include_str!("../../../docs/reference/metrics.md");

/// Type and label names by metric, as documented.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = CATALOGUE
        .lines()
        .filter(|line| line.starts_with("| `tombolo_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let code = |text: &str| text.trim_matches('`').to_owned();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        (
            code(cells[1]),
            (cells[2].to_owned(), labels.map(code).collect()),
        )
    })
    .collect()
}

#[test]
fn the_metrics_of_a_server_are_those_of_the_catalogue() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut connection = Connection::open(server.api()).expect("it listens");
    let mesh = serde_json::json!({"meshName": "m"});
    let create = Request::app_mesh("PUT", "/v20190125/meshes", &mesh);
    assert_eq!(connection.send(&create).expect("an answer").status, 200);
    let answer = connection
        .send(&Request::get("/tombolo/v1/metrics"))
        .expect("an answer");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = answer.text();
    let created =
        "tombolo_api_calls_total{service=\"appmesh\",operation=\"CreateMesh\",outcome=\"ok\"} 1";
    assert!(text.lines().any(|line| line == created), "{text}");
    let documented = documented();
    let mut shown = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        let expected = documented.get(name).map(|(kind, _)| kind.as_str());
        assert_eq!(expected, Some(kind), "{name} in docs/reference/metrics.md");
        shown.insert(name.to_owned());
    }
    let all: BTreeSet<String> = documented.keys().cloned().collect();
    assert_eq!(
        shown, all,
        "docs/reference/metrics.md lists what is not there"
    );
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let series = sample.rsplit_once(' ').expect("a value").0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let base = ["_bucket", "_sum", "_count"];
        let base = base
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        let (_, allowed) = documented.get(base).unwrap_or_else(|| panic!("{sample}"));
        let names = labels
            .split("\",")
            .filter_map(|label| label.split_once('='))
            .map(|(name, _)| name);
        for label in names.filter(|label| *label != "le") {
            assert!(
                allowed.contains(label),
                "label {label} of {base} in docs/reference/metrics.md"
            );
        }
    }

    let open_metrics = Request::get("/tombolo/v1/metrics").header(
        "accept",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    );
    let answer = connection.send(&open_metrics).expect("an answer");
    let content_type = answer.header("content-type").expect("it is told");
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
    assert!(answer.text().ends_with("# EOF\n"));
}
