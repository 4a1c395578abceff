//! The public walkthroughs: manifests and recorded `aws` calls, which are not part of this project.

use crate::need;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A walkthrough.
pub struct Walkthrough {
    /// Its name.
    pub name: String,
    directory: PathBuf,
}

/// A recorded call.
pub struct Step {
    /// `appmesh` or `servicediscovery`.
    pub service: String,
    /// For example `CreateMesh`.
    pub operation: String,
    /// What is sent.
    pub params: Value,
}

/// All walkthroughs, by name; `None`, with a word about it, when they are not there.
pub fn walkthroughs() -> Option<Vec<Walkthrough>> {
    let root = need("TOMBOLO_CORPUS")?;
    let mut found: Vec<Walkthrough> = list(&root)
        .into_iter()
        .filter(|directory| directory.is_dir())
        .map(|directory| Walkthrough {
            name: file_name(&directory),
            directory,
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(
        !found.is_empty(),
        "{} holds no walkthroughs",
        root.display()
    );
    Some(found)
}

/// The walkthrough of this name; `None`, with a word about it, when the walkthroughs are not there.
pub fn walkthrough(name: &str) -> Option<Walkthrough> {
    let found = walkthroughs()?
        .into_iter()
        .find(|walkthrough| walkthrough.name == name);
    Some(found.unwrap_or_else(|| panic!("there is no walkthrough {name}")))
}

impl Walkthrough {
    /// Its manifests, in the order in which they are applied.
    pub fn manifests(&self) -> Vec<PathBuf> {
        let directory = self.directory.join("manifests");
        if directory.is_dir() {
            list(&directory)
        } else {
            Vec::new()
        }
    }

    /// Its recorded calls, in order.
    pub fn steps(&self) -> Vec<Step> {
        let path = self.directory.join("cli/steps.json");
        let Ok(text) = std::fs::read_to_string(path) else {
            return Vec::new();
        };
        let steps: Vec<Value> = serde_json::from_str(&text).expect("steps are a JSON list");
        let text = |step: &Value, name: &str| step[name].as_str().expect("a text").to_owned();
        steps
            .iter()
            .map(|step| Step {
                service: text(step, "service"),
                operation: text(step, "operation"),
                params: step["params"].clone(),
            })
            .collect()
    }

    /// Whether its calls make everything that they use.
    pub fn is_self_contained(&self) -> bool {
        self.steps()
            .iter()
            .any(|step| step.operation == "CreateMesh")
    }
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    paths.sort();
    paths
}

/// The last word of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
