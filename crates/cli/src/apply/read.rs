//! Documents about resources: every one is read and checked by itself before anything is done.

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
    Denial, FieldPath,
    manifest::{self, Limits, Located, Origin, Problem, Severity, Source},
};

/// How much is read of one file: what a large control plane has, printed.
const LIMITS: Limits = Limits {
    bytes: 128 << 20,
    documents: 500_000,
    depth: 64,
    nodes: 10_000_000,
    aliases: true,
};

/// A resource as a document asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) id: Id,
    pub(crate) content: DocumentSpec,
    /// All tags of the resource; kept as they are when absent.
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) location: Location,
}

impl Desired {
    /// What it refers to.
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
    pub(crate) fn problem(&self, id: &Id, denial: Denial) -> Problem {
        problem(&self.origin, Some(id.to_string()), denial)
    }

    /// The path in the document of a path in the spec.
    pub(crate) fn in_spec(&self, field: &FieldPath) -> FieldPath {
        self.spec.clone().join(field)
    }

    /// The path of a neighbour of the name.
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
    /// What `tombolo get -o yaml` prints.
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
    problems.none().map(|()| documents)
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

/// Whether all documents are Kubernetes manifests, as far as they can be read at all.
pub(crate) fn are_manifests(sources: &[Source]) -> bool {
    documents(sources).map_or(true, |documents| {
        let is_manifest =
            |it: &Located<Value>| document_kind(&it.object) == DocumentKind::Kubernetes;
        documents.iter().all(is_manifest)
    })
}

/// Documents as far as they can be read without a server.
pub(crate) enum Parsed {
    /// Resources, complete.
    Resources(Vec<Desired>),
    /// Kubernetes manifests, which may refer to what only the server has.
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

    /// The resources that are asked for. `mesh` is that of manifests without a Mesh object.
    ///
    /// # Errors
    /// Manifests belong to no mesh, or refer to what is neither in them nor on the server.
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

/// Reads files of any of the languages, but all of one: manifests refer to each other by other names than
/// resources do. Also answers with warnings.
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
        let denial = Denial::new("apiVersion", message);
        problems.0.push(problem(&manifest.origin, None, denial));
    }
    let read = read(&others);
    let desired = read.unwrap_or_else(|more| {
        problems.0.extend(more.0);
        Vec::new()
    });
    problems
        .none()
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
    problems.none().map(|()| Vec::new())
}

/// The resources, each once. The same document given twice is one, as for `kubectl apply`; different documents
/// of one resource are an error.
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
            let denial = Denial::new(one.location.name.clone(), message);
            problems.0.push(one.location.problem(&one.id, denial));
        }
    }
    problems.none().map(|()| kept)
}

/// A document's content, read and checked by the rules that need no other resource.
fn content(id: &Id, spec: &Value, location: &Location) -> Result<DocumentSpec, Vec<Problem>> {
    let denied = |denial: Denial| {
        let field = location.in_spec(&denial.field);
        location.problem(id, Denial::new(field, denial.message))
    };
    let all = |denials: Vec<Denial>| denials.into_iter().map(denied).collect::<Vec<_>>();
    let content = DocumentSpec::read(id.kind(), spec).map_err(all)?;
    if let DocumentSpec::Mesh(spec) = &content
        && let Err(broken) = spec.check()
    {
        let inside = |one: &Denial| in_spec(&one.field.to_string(), &one.message);
        return Err(all(broken.0.iter().map(inside).collect()));
    }
    Ok(content)
}

/// A rule's complaint, whose path starts with `spec`, as one about the spec.
pub(crate) fn in_spec(field: &str, message: &str) -> Denial {
    let inner = field.strip_prefix("spec").unwrap_or(field);
    Denial::new(inner, message)
}

fn problem(origin: &Origin, object: Option<String>, denial: Denial) -> Problem {
    Problem {
        severity: Severity::Error,
        file: origin.file().into(),
        line: origin.line_of(&denial.field),
        object,
        field: denial.field,
        message: denial.message,
    }
}

impl Problems {
    /// Nothing is wrong; or everything that is, in the order of files and lines.
    pub(crate) fn none(mut self) -> Result<(), Self> {
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
