//! The crate rules of ARCHITECTURE.md, checked against the tree.

mod citations;
mod decisions;

use crate::process::{Result, cargo, output, root};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The crates that each crate may use (ARCHITECTURE.md). A crate that is not listed is an error.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("telemetry", &[]),
    ("document", &["model"]),
    ("store", &["model", "document", "telemetry"]),
    ("xds", &["telemetry"]),
    ("linux", &[]),
    ("api", &["model", "store", "document", "telemetry"]),
    ("dns", &["model", "store", "telemetry"]),
    ("health", &["model", "store", "telemetry"]),
    ("kube", &["model", "document"]),
    ("plan", &["model", "store", "xds", "telemetry"]),
    ("proxy", &["xds", "telemetry"]),
    ("controller", &["model", "api", "kube", "telemetry"]),
    (
        "kubernetes",
        &[
            "model",
            "api",
            "controller",
            "document",
            "kube",
            "telemetry",
        ],
    ),
    (
        "local",
        &[
            "model",
            "api",
            "controller",
            "dns",
            "document",
            "kube",
            "linux",
            "operator",
            "telemetry",
        ],
    ),
    ("operator", &["store", "api", "telemetry"]),
    (
        "cli",
        &[
            "model",
            "api",
            "document",
            "kube",
            "local",
            "operator",
            "telemetry",
        ],
    ),
    ("example-color", &[]),
];

/// Maximum lines of a file; a longer one has more than one job.
const MAX_LINES: usize = 600;

pub(crate) fn run() -> Result<()> {
    let mut problems = Vec::new();
    check_crates(&mut problems)?;
    let mut files = Vec::new();
    for folder in ["crates", "examples", "fuzz", "tests", "xtask"] {
        collect(&root().join(folder), &mut files)?;
    }
    for file in &files {
        check_file(file, &mut problems)?;
    }
    citations::check(&files, &mut problems)?;
    decisions::check(&mut problems)?;
    if problems.is_empty() {
        eprintln!(
            "tidy: {} crates, {} files, nothing to complain about",
            MAY_USE.len(),
            files.len()
        );
        return Ok(());
    }
    Err(format!(
        "tidy found {} problems:\n  {}",
        problems.len(),
        problems.join("\n  ")
    ))
}

/// The dependency rule, checked against cargo's metadata.
fn check_crates(problems: &mut Vec<String>) -> Result<()> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(name) = name.strip_prefix("tombolo-") else {
            continue;
        };
        if ["tests", "need", "benches", "fuzz"].contains(&name) {
            continue;
        }
        let Some(may_use) = allowed.get(name) else {
            problems.push(format!(
                "crate {name} has no place in the picture: see ARCHITECTURE.md"
            ));
            continue;
        };
        let dependencies = package["dependencies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for dependency in dependencies
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
        {
            let used = dependency["name"].as_str().unwrap_or_default();
            if let Some(used) = used.strip_prefix("tombolo-")
                && !may_use.contains(&used)
            {
                problems.push(format!(
                    "crate {name} must not use {used}: see ARCHITECTURE.md"
                ));
            }
        }
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn check_file(path: &Path, problems: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let shown = path.strip_prefix(root()).unwrap_or(path).display();
    let lines = text.lines().count();
    let is_test = path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs");
    if lines > MAX_LINES && !is_test {
        problems.push(format!(
            "{shown} has {lines} lines: split it by kind (limit {MAX_LINES})"
        ));
    }
    if !is_test && !text.starts_with("//!") {
        problems.push(format!(
            "{shown} does not say what it is: start it with //!"
        ));
    }
    for banned in ["utils", "helpers", "common", "manager"] {
        if path.file_stem().is_some_and(|stem| stem == banned) {
            problems.push(format!(
                "{shown}: a module is named by what is in it, not {banned}"
            ));
        }
    }
    let marks = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME"];
    for (number, line) in text.lines().enumerate() {
        if marks.iter().any(|mark| line.contains(mark.as_str())) {
            problems.push(format!(
                "{shown}:{}: unfinished: {}",
                number + 1,
                line.trim()
            ));
        }
    }
    Ok(())
}
