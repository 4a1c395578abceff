//! Decodes one document into one object.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use tombolo_document::{DecodeError, Decoded, Document, yaml};

use super::kinds::{self, Format};
use super::{
    Located, Object, Options, Origin, Problem, Severity, Source, Strictness, Untyped, workload,
};
use crate::crd::Resource;
use crate::{Codec, FieldPath, Violation};

/// Reads all documents of a file.
pub(super) fn file(
    source: &Source,
    options: &Options,
    objects: &mut Vec<Located<Object>>,
    problems: &mut Vec<Problem>,
) {
    let mut reader = Reader {
        file: Arc::from(source.name.as_str()),
        options,
        objects,
        problems,
    };
    let (documents, error) = yaml::read(&source.text, &options.limits);
    for document in documents {
        reader.document(document);
    }
    if let Some(error) = error {
        reader.push_error(error.line, error.message);
    }
}

struct Reader<'a> {
    file: Arc<str>,
    options: &'a Options,
    objects: &'a mut Vec<Located<Object>>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn document(&mut self, document: Document) {
        let Document { value, lines } = document;
        let line = lines.of(&FieldPath::root());
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
        if value.is_null() {
            return;
        }
        if !value.is_object() {
            return self.push_error(
                line,
                "is not a Kubernetes object; a document is a map with apiVersion and kind",
            );
        }
        if api_version.is_empty() || kind.is_empty() {
            let missing = if api_version.is_empty() {
                "apiVersion"
            } else {
                "kind"
            };
            return self.push_error(
                line,
                format!("has no {missing}; every document needs apiVersion and kind"),
            );
        }
        match kinds::format(&api_version, &kind) {
            Err(error) => {
                let line = lines.of(&FieldPath::root().field("kind"));
                self.push_error(line, error.to_string());
            }
            Ok(Format::List) => {
                let items = value
                    .get("items")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                for (index, value) in items.into_iter().enumerate() {
                    let path = FieldPath::root().field("items").index(index);
                    let lines = lines.below(&path).cloned().unwrap_or_default();
                    self.document(Document { value, lines });
                }
            }
            Ok(format) => {
                let origin = Origin {
                    file: self.file.clone(),
                    lines: Arc::new(lines),
                };
                self.object(format, &api_version, &kind, value, origin);
            }
        }
    }

    fn object(
        &mut self,
        format: Format,
        api_version: &str,
        kind: &str,
        value: Value,
        origin: Origin,
    ) {
        let namespaced = match format {
            Format::Core { namespaced, .. } | Format::NotRun { namespaced } => namespaced,
            Format::Mesh(kind) => kind.is_namespaced(),
            Format::Istio | Format::List => true,
        };
        let decoded = match format {
            Format::Core { decode, .. } => decode(&value),
            Format::Mesh(kind) => {
                Resource::decode(kind, &value).map(|it| it.map(Box::new).map(Object::Mesh))
            }
            Format::Istio => untyped(api_version, kind, &value, Object::Istio),
            Format::NotRun { .. } | Format::List => {
                untyped(api_version, kind, &value, Object::NotRun)
            }
        };
        let Decoded {
            value: object,
            unknown,
        } = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                let object = Some(written_title(
                    kind,
                    &value,
                    namespaced.then_some(&*self.options.namespace),
                ));
                self.problems.push(Problem {
                    severity: Severity::Error,
                    file: self.file.clone(),
                    line: origin.line_of(&error.field),
                    object,
                    message: plain(&error.message),
                    field: error.field,
                });
                return;
            }
        };
        let mut located = Located { object, origin };
        if let Object::NotRun(object) = &located.object
            && object.metadata.name.is_none()
        {
            // Some files beside manifests are not objects: a Kustomization has no name.
            let message = "is not run here".to_owned();
            let told = located.at(Severity::Warning, FieldPath::root(), message);
            self.problems.push(told);
            return;
        }
        let violations = name(&mut located.object, namespaced, &self.options.namespace);
        for field in unknown {
            self.unknown(&located, field);
        }
        if let Object::NotRun(_) = located.object {
            let message = "is accepted and not run here: only a real cluster acts on it".to_owned();
            self.problems
                .push(located.at(Severity::Warning, FieldPath::root(), message));
        }
        let violations = violations.into_iter().chain(check(&located.object));
        self.problems
            .extend(violations.map(|violation| located.problem(&violation)));
        self.objects.push(located);
    }

    fn unknown(&mut self, located: &Located<Object>, field: FieldPath) {
        let tolerated = kinds::tolerated_field(located.object.kind(), &field.pattern());
        let severity = match (tolerated, self.options.strictness) {
            (Some(_), _) | (None, Strictness::Warn) => Severity::Warning,
            (None, Strictness::Strict) => Severity::Error,
            (None, Strictness::Ignore) => return,
        };
        let message = match tolerated {
            Some(warning) => warning.to_owned(),
            None => format!(
                "{} has no such field; check its spelling and its indentation",
                located.object.kind()
            ),
        };
        self.problems.push(located.at(severity, field, message));
    }

    fn push_error(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem {
            severity: Severity::Error,
            file: self.file.clone(),
            line,
            object: None,
            field: FieldPath::root(),
            message: message.into(),
        });
    }
}

/// An object of which only the metadata is decoded.
fn untyped(
    api_version: &str,
    kind: &str,
    value: &Value,
    object: fn(Box<Untyped>) -> Object,
) -> Result<Decoded<Object>, DecodeError> {
    let at = |field: &FieldPath| FieldPath::from("metadata").join(field);
    let empty = Value::Object(serde_json::Map::new());
    let metadata = value.get("metadata").unwrap_or(&empty);
    let decoded = ObjectMeta::decode(metadata).map_err(|error| DecodeError {
        field: at(&error.field),
        ..error
    })?;
    Ok(Decoded {
        value: object(Box::new(Untyped {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            metadata: decoded.value,
            value: value.clone(),
        })),
        unknown: decoded.unknown.iter().map(at).collect(),
    })
}

/// A message of the decoder in YAML terms.
fn plain(message: &str) -> String {
    let message = message
        .replace("expected u16", "expected a port number from 1 to 65535")
        .replace(
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        )
        .replace("expected i64", "expected a whole number")
        .replace("expected i32", "expected a whole number")
        .replace("a sequence", "a list");
    let is_unquoted = (message.starts_with("invalid type: integer")
        || message.starts_with("invalid type: boolean")
        || message.starts_with("invalid type: floating point"))
        && message.contains("expected a string");
    if is_unquoted {
        format!("{message}; put it in quotes")
    } else {
        message
    }
}

/// `Kind ns/name` of a document that could not be decoded.
fn written_title(kind: &str, value: &Value, default_namespace: Option<&str>) -> String {
    let text = |key: &str| {
        value
            .pointer(&format!("/metadata/{key}"))
            .and_then(Value::as_str)
    };
    let name = text("name").unwrap_or("(no name)");
    match default_namespace {
        Some(default) => format!("{kind} {}/{name}", text("namespace").unwrap_or(default)),
        None => format!("{kind} {name}"),
    }
}

/// Gives every namespaced object a namespace, and checks its name.
fn name(object: &mut Object, namespaced: bool, default_namespace: &str) -> Vec<Violation> {
    let metadata = object.metadata_mut();
    let mut violations = Vec::new();
    match metadata.name.as_deref() {
        None | Some("") => violations.push(Violation::new("metadata.name", "is required")),
        Some(name) => {
            let legal = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
            };
            if name.len() > 253
                || !name.bytes().all(legal)
                || name.starts_with(['-', '.'])
                || name.ends_with(['-', '.'])
            {
                let message = format!(
                    "{name:?} is not a name; use lower case letters, digits, - and ., at most 253, \
                     a letter or digit at both ends"
                );
                violations.push(Violation::new("metadata.name", message));
            }
        }
    }
    if !namespaced {
        // As in the API server, the namespace of a cluster-scoped object is dropped.
        metadata.namespace = None;
    } else if metadata.namespace.as_deref().unwrap_or_default().is_empty() {
        metadata.namespace = Some(default_namespace.to_owned());
    }
    violations
}

fn check(object: &Object) -> Vec<Violation> {
    match object {
        Object::Mesh(resource) => resource.check(),
        Object::Deployment(deployment) => workload::deployment(deployment),
        Object::Pod(pod) => workload::pod(pod),
        Object::Service(service) => workload::service(service),
        Object::Namespace(_)
        | Object::ConfigMap(_)
        | Object::Secret(_)
        | Object::Istio(_)
        | Object::NotRun(_) => Vec::new(),
    }
}
