//! Manifests: parses YAML text into typed objects; every problem has its file and line.
//!
//! Reading is strict, because a misspelt field that is silently dropped costs hours: fields that Kubernetes would
//! prune are errors here, unless a public walkthrough has them. All problems of all files are collected, so that one
//! run shows all of them.

mod decode;
mod kinds;
mod object;
mod problem;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use object::{Object, Untyped};
pub use problem::{Problem, Problems, Severity};

pub use tombolo_document::Limits;
use tombolo_document::{Lines, yaml};

use crate::cluster::ObjectKey;
use crate::{FieldPath, Violation};

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name in error messages.
    pub name: String,
    /// The content.
    pub text: String,
}

impl Source {
    /// A file called `name` with the content `text`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// The treatment of fields that no type has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strictness {
    /// They are errors.
    #[default]
    Strict,
    /// They are warnings.
    Warn,
    /// They are dropped.
    Ignore,
}

/// Options of reading manifests.
#[derive(Clone, Debug)]
pub struct Options {
    /// The treatment of fields that no type has.
    pub strictness: Strictness,
    /// Bounds on the text.
    pub limits: Limits,
    /// The namespace of namespaced objects that name none.
    pub namespace: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            strictness: Strictness::default(),
            limits: Limits::default(),
            namespace: "default".to_owned(),
        }
    }
}

/// The position of an object in its file.
#[derive(Clone, Debug)]
pub struct Origin {
    file: Arc<str>,
    lines: Arc<Lines>,
}

impl Origin {
    /// Name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line on which the object begins, counted from 1.
    pub fn line(&self) -> usize {
        self.line_of(&FieldPath::root())
    }

    /// Line of a field, or of its nearest written parent.
    pub fn line_of(&self, field: &FieldPath) -> usize {
        self.lines.of(field)
    }
}

/// A part of a manifest with its position.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The part.
    pub object: T,
    /// The position.
    pub origin: Origin,
}

impl Located<Value> {
    /// The items of a list that is a member of this document, each with its position.
    pub fn items(&self, member: &str) -> Vec<Located<Value>> {
        let items = self.object.get(member).and_then(Value::as_array);
        let items = items.into_iter().flatten().enumerate();
        items
            .map(|(index, value)| {
                let path = FieldPath::root().field(member).index(index);
                let lines = self.origin.lines.below(&path);
                Located {
                    object: value.clone(),
                    origin: Origin {
                        file: self.origin.file.clone(),
                        lines: Arc::new(lines.cloned().unwrap_or_default()),
                    },
                }
            })
            .collect()
    }
}

impl Located<Object> {
    /// `Kind ns/name`, for messages.
    pub fn title(&self) -> String {
        title(&self.object)
    }

    /// A violation of this object as an error with file and line.
    pub fn problem(&self, violation: &Violation) -> Problem {
        self.at(
            Severity::Error,
            violation.field.clone(),
            violation.message.clone(),
        )
    }

    fn at(&self, severity: Severity, field: FieldPath, message: String) -> Problem {
        Problem {
            severity,
            file: self.origin.file.clone(),
            line: self.origin.line_of(&field),
            object: Some(self.title()),
            field,
            message,
        }
    }
}

fn title(object: &Object) -> String {
    match object.namespace() {
        Some(namespace) => format!("{} {namespace}/{}", object.kind(), object.name()),
        None => format!("{} {}", object.kind(), object.name()),
    }
}

/// The objects of a set of files.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// The objects, in the order of files and documents.
    pub objects: Vec<Located<Object>>,
    /// Problems that do not prevent the use of the objects.
    pub warnings: Vec<Problem>,
}

impl Manifests {
    /// The objects, each after those that it depends on: namespaces, configuration, meshes, their members, services,
    /// and workloads last. Otherwise in the order written.
    pub fn into_apply_order(self) -> Vec<Located<Object>> {
        let mut objects = self.objects;
        objects.sort_by_key(|located| apply_rank(&located.object));
        objects
    }
}

fn apply_rank(object: &Object) -> usize {
    match object {
        Object::Namespace(_) => 0,
        Object::ConfigMap(_) | Object::Secret(_) => 1,
        // In the order of the kinds, references point backwards.
        Object::Mesh(resource) => 2 + resource.kind() as usize,
        Object::Istio(_) | Object::NotRun(_) => 20,
        Object::Service(_) => 21,
        Object::Deployment(_) | Object::Pod(_) => 22,
    }
}

/// The documents of a file as values, for readers of other formats than Kubernetes'. Empty ones are left out.
///
/// # Errors
/// The file is too large, or it is not YAML.
pub fn documents(source: &Source, limits: &Limits) -> Result<Vec<Located<Value>>, Problem> {
    let file: Arc<str> = Arc::from(source.name.as_str());
    let problem = |line, message| Problem {
        severity: Severity::Error,
        file: file.clone(),
        line,
        object: None,
        field: FieldPath::root(),
        message,
    };
    let (documents, error) = yaml::read(&source.text, limits);
    if let Some(error) = error {
        return Err(problem(error.line, error.message));
    }
    let documents = documents.into_iter().filter(|it| !it.value.is_null());
    Ok(documents
        .map(|document| Located {
            object: document.value,
            origin: Origin {
                file: file.clone(),
                lines: Arc::new(document.lines),
            },
        })
        .collect())
}

/// Reads a set of files that belong together.
///
/// # Errors
/// Every error of every document, and the warnings beside them.
pub fn read(sources: &[Source], options: &Options) -> Result<Manifests, Problems> {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for source in sources {
        let before = problems.len();
        decode::file(source, options, &mut objects, &mut problems);
        problems[before..].sort_by_key(|problem| problem.line);
    }
    let objects = merge_duplicates(objects, &mut problems);
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(Problems(problems));
    }
    Ok(Manifests {
        objects,
        warnings: problems,
    })
}

/// Merges documents of one object. The same content is the same object, as for `kubectl apply`, and namespaces are
/// merged from all their documents: repositories repeat both in each file. Different content is a copying mistake, of
/// which `kubectl` would use the last.
fn merge_duplicates(
    objects: Vec<Located<Object>>,
    problems: &mut Vec<Problem>,
) -> Vec<Located<Object>> {
    let mut seen: BTreeMap<(String, String, ObjectKey), usize> = BTreeMap::new();
    let mut kept: Vec<Located<Object>> = Vec::new();
    for located in objects {
        let object = &located.object;
        let group = object
            .api_version()
            .split_once('/')
            .map_or("", |(group, _)| group);
        let key = ObjectKey::new(object.namespace().unwrap_or_default(), object.name());
        let identity = (group.to_owned(), object.kind().to_owned(), key);
        let Some(first) = seen.get(&identity) else {
            seen.insert(identity, kept.len());
            kept.push(located);
            continue;
        };
        let first = &mut kept[*first];
        if let Err((field, what)) = merge(&mut first.object, &located.object) {
            let (file, line) = (first.origin.file(), first.origin.line_of(&field));
            let message = format!(
                "is given twice, and {what} differs from {file}:{line}; remove one of them"
            );
            problems.push(located.at(Severity::Error, field, message));
        }
    }
    kept
}

/// Merges a second document of an object into the first.
///
/// # Errors
/// The contradicting field, and the contradiction.
fn merge(first: &mut Object, second: &Object) -> Result<(), (FieldPath, &'static str)> {
    if first == second {
        return Ok(());
    }
    let (Object::Namespace(first), Object::Namespace(second)) = (first, second) else {
        return Err((FieldPath::from("metadata.name"), "it"));
    };
    let (into, from) = (&mut first.metadata, &second.metadata);
    for (member, into, from) in [
        ("labels", &mut into.labels, &from.labels),
        ("annotations", &mut into.annotations, &from.annotations),
    ] {
        let into = into.get_or_insert_default();
        for (key, value) in from.iter().flatten() {
            if into
                .insert(key.clone(), value.clone())
                .is_some_and(|old| old != *value)
            {
                let field = FieldPath::from("metadata").field(member).field(key);
                return Err((field, "its value"));
            }
        }
    }
    Ok(())
}
