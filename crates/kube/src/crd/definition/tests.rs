use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{definition, definitions_yaml};
use crate::crd::Kind;

/// See its head for how it is written.
const AWS: &str = include_str!("v1beta2.txt");

#[test]
fn clients_see_what_they_saw_of_the_definitions_of_aws() {
    let mut aws: Vec<BTreeSet<String>> = Vec::new();
    for line in AWS.lines().filter(|line| !line.starts_with('#')) {
        if line.is_empty() {
            aws.push(BTreeSet::new());
        } else if let Some(kind) = aws.last_mut() {
            kind.insert(line.to_owned());
        }
    }
    // `kubectl get all` shows meshes, as the walkthrough of the color app prints them.
    let not_ours = "Mesh meshes mesh MeshList Cluster -";
    let ours_alone = "Mesh meshes mesh MeshList Cluster all";

    let mut aws: BTreeSet<String> = aws.iter().flat_map(in_kind).collect();
    assert!(aws.remove(&in_kind_line("Mesh", not_ours)));
    aws.insert(in_kind_line("Mesh", ours_alone));
    let ours: BTreeSet<String> = Kind::ALL
        .iter()
        .flat_map(|kind| in_kind(&seen(&definition(*kind))))
        .collect();
    let missing: Vec<&String> = aws.difference(&ours).collect();
    let extra: Vec<&String> = ours.difference(&aws).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "AWS has: {missing:#?}\nwe have instead: {extra:#?}"
    );
}

#[test]
fn the_chart_has_the_definitions_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/helm/appmesh-controller/crds/crds.yaml");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == definitions_yaml(),
        "{} is not what the types say: run `cargo xtask crds`",
        path.display()
    );
}

/// The lines of a kind, each with the kind's name.
fn in_kind(lines: &BTreeSet<String>) -> Vec<String> {
    let names = lines.iter().find(|line| line.split(' ').count() == 6);
    let kind = names
        .and_then(|names| names.split(' ').next())
        .expect("a line of names");
    lines.iter().map(|line| in_kind_line(kind, line)).collect()
}

fn in_kind_line(kind: &str, line: &str) -> String {
    format!("{kind}: {line}")
}

/// What clients see of a definition, as the file has it.
fn seen(definition: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (spec, names) = (&definition["spec"], &definition["spec"]["names"]);
    let fields = ["kind", "plural", "singular", "listKind"].map(|name| text(&names[name]));
    let categories = text(&names["categories"][0]);
    let version = &spec["versions"][0];
    let mut lines = BTreeSet::from([format!(
        "{} {} {categories}",
        fields.join(" "),
        text(&spec["scope"])
    )]);
    let columns = version["additionalPrinterColumns"].as_array();
    for column in columns.into_iter().flatten() {
        let fields = ["name", "type", "jsonPath"].map(|name| text(&column[name]));
        lines.insert(format!("column {}", fields.join(" ")));
    }
    let root = &version["schema"]["openAPIV3Schema"];
    assert_eq!(root["x-kubernetes-preserve-unknown-fields"], true);
    members("", root, &mut lines);
    lines
}

fn members(path: &str, schema: &Value, lines: &mut BTreeSet<String>) {
    let required: Vec<&Value> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required.contains(&&Value::from(name.as_str()));
        let path = format!("{path}{}{name}", if path.is_empty() { "" } else { "." });
        value(&path, is_required, member, lines);
    }
    if schema["additionalProperties"].is_object() {
        value(
            &format!("{path}{{}}"),
            false,
            &schema["additionalProperties"],
            lines,
        );
    }
    if schema["items"].is_object() {
        value(&format!("{path}[]"), false, &schema["items"], lines);
    }
}

fn value(path: &str, is_required: bool, schema: &Value, lines: &mut BTreeSet<String>) {
    let kind = schema["type"].as_str().expect("every schema has a type");
    let mut line = format!("{path}{} {kind}", if is_required { "!" } else { "" });
    if let (Some(format), "string") = (schema["format"].as_str(), kind) {
        line.push_str(&format!(" {format}"));
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: BTreeSet<&str> = words.iter().filter_map(Value::as_str).collect();
        line.push_str(&format!(" {}", Vec::from_iter(words).join("|")));
    }
    let bound = |names: [&str; 3]| names.iter().find_map(|name| schema[*name].as_i64());
    let min = bound(["minimum", "minLength", "minItems"]);
    let max = bound(["maximum", "maxLength", "maxItems"]);
    if min.is_some() || max.is_some() {
        let [min, max] = [min, max].map(|it| it.map(|it| it.to_string()).unwrap_or_default());
        line.push_str(&format!(" {min}..{max}"));
    }
    lines.insert(line);
    members(path, schema, lines);
}
