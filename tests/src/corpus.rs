//! The public walkthroughs: manifests and recorded `aws` calls, which are not part of this project.

use crate::need;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A walkthrough.
pub struct Walkthrough {
    /// The name.
    pub name: String,
    directory: PathBuf,
}

/// A recorded call.
pub struct Step {
    /// `appmesh` or `servicediscovery`.
    pub service: String,
    /// The operation, such as `CreateMesh`.
    pub operation: String,
    /// The parameters.
    pub params: Value,
    /// The HTTP request: method, path, query, target and body.
    pub http: Value,
    /// The file of the parameters.
    pub file: PathBuf,
}

/// All walkthroughs, by name; `None`, after a message, when they are not installed.
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

/// The walkthrough of this name; `None`, after a message, when the walkthroughs are not installed.
pub fn walkthrough(name: &str) -> Option<Walkthrough> {
    let found = walkthroughs()?
        .into_iter()
        .find(|walkthrough| walkthrough.name == name);
    Some(found.unwrap_or_else(|| panic!("there is no walkthrough {name}")))
}

impl Walkthrough {
    /// The manifests, in the order in which they are applied.
    pub fn manifests(&self) -> Vec<PathBuf> {
        let directory = self.directory.join("manifests");
        if directory.is_dir() {
            list(&directory)
        } else {
            Vec::new()
        }
    }

    /// The directory of the recorded calls, if there are any.
    fn recording(&self) -> Option<PathBuf> {
        Some(self.directory.join("cli")).filter(|directory| directory.is_dir())
    }

    /// The recorded calls, in order.
    pub fn steps(&self) -> Vec<Step> {
        let Some(directory) = self.recording() else {
            return Vec::new();
        };
        let text = read(&directory.join("steps.json"));
        let steps: Vec<Value> = serde_json::from_str(&text).expect("steps are a JSON list");
        let text = |step: &Value, name: &str| step[name].as_str().expect("a text").to_owned();
        steps
            .iter()
            .map(|step| Step {
                service: text(step, "service"),
                operation: text(step, "operation"),
                params: step["params"].clone(),
                http: step["http"].clone(),
                file: directory.join(text(step, "file")),
            })
            .collect()
    }

    /// The `aws` commands of the script, split into words, with absolute paths of files.
    pub fn commands(&self) -> Vec<Vec<String>> {
        let Some(directory) = self.recording() else {
            return Vec::new();
        };
        let script = read(&directory.join("run.sh"));
        let commands = script.lines().filter_map(|line| line.strip_prefix("aws "));
        let word = |word: &str| match word.strip_prefix("file://") {
            Some(file) => format!("file://{}", directory.join(file).display()),
            None => word.to_owned(),
        };
        commands
            .map(|line| {
                let (words, _comment) = line.split_once(" #").unwrap_or((line, ""));
                words.split_whitespace().map(word).collect()
            })
            .collect()
    }

    /// The files of the recorded calls.
    pub fn call_files(&self) -> Vec<PathBuf> {
        let Some(directory) = self.recording() else {
            return Vec::new();
        };
        let mut files = list(&directory);
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "json")
                && file_name(file) != "steps.json"
        });
        files
    }

    /// Whether the calls create everything that they use.
    pub fn is_self_contained(&self) -> bool {
        self.steps()
            .iter()
            .any(|step| step.operation == "CreateMesh")
    }
}

/// The text of a file.
pub fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

/// The last component of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
