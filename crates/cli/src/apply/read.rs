//! Reads documents about resources; each is validated by itself before anything is done.

mod aws;
mod document;
mod kubernetes;

use crate::{
    error::Error,
    resource::{
        document_spec::DocumentSpec,
        id::Id,
        lookup::Lookup,
        references::{self, Reference},
    },
};
use serde_json::Value;
use std::collections::BTreeMap;
use tombolo_kube::{
    FieldPath, Violation,
    manifest::{self, Limits, Located, Origin, Problem, Severity, Source},
};

/// Limits of one file: room for the printed state of a large control plane.
pub(crate) const LIMITS: Limits = Limits {
    bytes: 128 << 20,
    documents: 500_000,
    depth: 64,
    nodes: 10_000_000,
    aliases: true,
};

/// A resource as a document describes it.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) id: Id,
    pub(crate) content: DocumentSpec,
    /// All tags of the resource; kept as they are when absent.
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) location: Location,
}

impl Desired {
    /// The references of the resource.
    pub(crate) fn references(&self) -> Vec<Reference> {
        match (&self.id, &self.content) {
            (Id::Mesh(key), DocumentSpec::Mesh(spec)) => references::of(key, spec),
            _ => Vec::new(),
        }
    }
}

/// Position of a document, and of the spec in it.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    origin: Origin,
    /// Path of the member that holds the spec.
    spec: FieldPath,
    /// The path of the name.
    name: FieldPath,
    /// Path of the object with the name, the containers' names and the tags.
    container: FieldPath,
}

/// Problems of documents, one for each line of the message.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Location {
    /// `file:line` of a document.
    pub(crate) fn line(&self) -> String {
        let line = self.origin.line_of(&self.name);
        format!("{}:{line}", self.origin.file())
    }

    /// `file:line` of a field of the spec, given by its path from `spec` on.
    pub(crate) fn line_in_spec(&self, field: &str) -> String {
        let field = self.in_spec(&in_spec(field, "").field);
        format!("{}:{}", self.origin.file(), self.origin.line_of(&field))
    }

    /// A problem with a field of this document.
    pub(crate) fn problem(&self, id: &Id, violation: Violation) -> Problem {
        problem(&self.origin, Some(id.to_string()), violation)
    }

    /// Converts a path in the spec to a path in the document.
    pub(crate) fn in_spec(&self, field: &FieldPath) -> FieldPath {
        self.spec.clone().join(field)
    }

    /// The path of a sibling of the name.
    pub(crate) fn member(&self, member: &str) -> FieldPath {
        self.container.clone().field(member)
    }

    pub(crate) fn name(&self) -> &FieldPath {
        &self.name
    }
}

/// The format of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DocumentKind {
    /// The format of `tombolo get -o yaml`.
    Resource,
    /// An input or an output of the aws CLI.
    Aws,
    /// A Kubernetes manifest.
    Kubernetes,
}

/// The documents of all files; the items of a list are documents.
fn documents(sources: &[Source]) -> Result<Vec<Located<Value>>, Problems> {
    let mut documents = Vec::new();
    let mut problems = Problems::default();
    for source in sources {
        match manifest::documents(source, &LIMITS) {
            Ok(of_file) => documents.extend(of_file.into_iter().flat_map(items)),
            Err(problem) => problems.0.push(problem),
        }
    }
    problems.into_result().map(|()| documents)
}

fn items(document: Located<Value>) -> Vec<Located<Value>> {
    let is_list = document.object["kind"] == "List" && document.object["items"].is_array();
    if is_list {
        document.items("items")
    } else {
        vec![document]
    }
}

fn document_kind(document: &Value) -> DocumentKind {
    match document["apiVersion"].as_str() {
        None if document.get("kind").is_none() => DocumentKind::Aws,
        Some(version) if !document::is_aws_api(version) => DocumentKind::Kubernetes,
        _ => DocumentKind::Resource,
    }
}

/// Whether all documents are Kubernetes manifests, as far as they can be read.
pub(crate) fn are_manifests(sources: &[Source]) -> bool {
    documents(sources).map_or(true, |documents| {
        let is_manifest =
            |it: &Located<Value>| document_kind(&it.object) == DocumentKind::Kubernetes;
        documents.iter().all(is_manifest)
    })
}

/// Documents that were parsed without a server.
pub(crate) enum Parsed {
    /// Resources, complete.
    Resources(Vec<Desired>),
    /// Kubernetes manifests, which may refer to resources that only the server has.
    Manifests(kubernetes::Parsed),
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::Rejected(format!("nothing was changed:\n{problems}"))
    }
}

impl Parsed {
    /// Whether there is no document.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Resources(desired) => desired.is_empty(),
            Self::Manifests(manifests) => manifests.is_empty(),
        }
    }

    /// The desired resources. `mesh` is that of manifests without a Mesh object.
    ///
    /// # Errors
    /// Manifests belong to no mesh, or refer to objects that are neither in them nor on the server.
    pub(crate) async fn resolve(
        self,
        lookup: &Lookup,
        mesh: Option<&str>,
    ) -> Result<Vec<Desired>, Error> {
        match self {
            Self::Resources(desired) => Ok(desired),
            Self::Manifests(manifests) => Ok(merged(manifests.resolve(lookup, mesh).await?)?),
        }
    }
}

/// Parses files of any format, but all of one: manifests use other names for references than resources do. Also
/// returns warnings.
pub(crate) fn parse(
    sources: &[Source],
    options: &manifest::Options,
) -> Result<(Parsed, Vec<String>), Problems> {
    let documents = documents(sources)?;
    let is_manifest = |it: &Located<Value>| document_kind(&it.object) == DocumentKind::Kubernetes;
    let (manifests, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(is_manifest);
    if others.is_empty() && !manifests.is_empty() {
        let (parsed, warnings) = kubernetes::parse(sources, options)?;
        return Ok((Parsed::Manifests(parsed), warnings));
    }
    let mut problems = Problems::default();
    if let Some(manifest) = manifests.first() {
        let message = "is that of a Kubernetes manifest, beside documents that are none: apply each sort by \
                       itself, or write appmesh/2019-01-25 or servicediscovery/2017-03-14";
        let violation = Violation::new("apiVersion", message);
        problems.0.push(problem(&manifest.origin, None, violation));
    }
    let read = read(&others);
    let desired = read.unwrap_or_else(|more| {
        problems.0.extend(more.0);
        Vec::new()
    });
    problems
        .into_result()
        .map(|()| (Parsed::Resources(desired), Vec::new()))
}

/// Reads documents that are not Kubernetes manifests.
fn read(documents: &[Located<Value>]) -> Result<Vec<Desired>, Problems> {
    let mut desired = Vec::new();
    let mut problems = Problems::default();
    for document in documents {
        let read = match document_kind(&document.object) {
            DocumentKind::Aws => aws::read(document),
            DocumentKind::Resource | DocumentKind::Kubernetes => document::read(document),
        };
        match read {
            Ok(read) => desired.push(read),
            Err(of_document) => problems.0.extend(of_document),
        }
    }
    match merged(desired) {
        Ok(desired) if problems.0.is_empty() => return Ok(desired),
        Ok(_) => {}
        Err(doubles) => problems.0.extend(doubles.0),
    }
    problems.into_result().map(|()| Vec::new())
}

/// The resources without duplicates. The same document given twice is one, as for `kubectl apply`; different
/// documents of one resource are an error.
fn merged(all: Vec<Desired>) -> Result<Vec<Desired>, Problems> {
    let mut seen: BTreeMap<Id, usize> = BTreeMap::new();
    let mut kept: Vec<Desired> = Vec::new();
    let mut problems = Problems::default();
    for one in all {
        let Some(first) = seen.get(&one.id) else {
            seen.insert(one.id.clone(), kept.len());
            kept.push(one);
            continue;
        };
        let first = &kept[*first];
        if first.content != one.content || first.tags != one.tags {
            let line = first.location.line();
            let message = format!("is given twice, and differs from {line}; remove one of them");
            let violation = Violation::new(one.location.name.clone(), message);
            problems.0.push(one.location.problem(&one.id, violation));
        }
    }
    problems.into_result().map(|()| kept)
}

/// A document's spec, validated by the rules that need no other resource.
fn content(id: &Id, spec: &Value, location: &Location) -> Result<DocumentSpec, Vec<Problem>> {
    let denied = |violation: Violation| {
        let field = location.in_spec(&violation.field);
        location.problem(id, Violation::new(field, violation.message))
    };
    let all = |violations: Vec<Violation>| violations.into_iter().map(denied).collect::<Vec<_>>();
    let content = DocumentSpec::read(id.kind(), spec).map_err(all)?;
    if let DocumentSpec::Mesh(spec) = &content
        && let Err(broken) = spec.check()
    {
        let inside = |one: &Violation| in_spec(&one.field.to_string(), &one.message);
        return Err(all(broken.0.iter().map(inside).collect()));
    }
    Ok(content)
}

/// A violation of the model, whose path starts with `spec`, relative to the spec.
pub(crate) fn in_spec(field: &str, message: &str) -> Violation {
    let inner = field.strip_prefix("spec").unwrap_or(field);
    Violation::new(inner, message)
}

fn problem(origin: &Origin, object: Option<String>, violation: Violation) -> Problem {
    Problem {
        severity: Severity::Error,
        file: origin.file().into(),
        line: origin.line_of(&violation.field),
        object,
        field: violation.field,
        message: violation.message,
    }
}

impl Problems {
    /// `Ok` without problems; otherwise all of them, in the order of files and lines.
    pub(crate) fn into_result(mut self) -> Result<(), Self> {
        self.0
            .sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
