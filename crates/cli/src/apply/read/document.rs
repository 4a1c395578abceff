//! Documents in the format of `tombolo get -o yaml`.

use super::{Desired, Location, content, problem};
use crate::resource::{
    id::Id,
    kind::{Kind, nearest},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tombolo_kube::{
    FieldPath, Violation,
    manifest::{Located, Problem},
};

/// Whether a document with this `apiVersion` is a resource of the AWS APIs, of any version.
pub(super) fn is_aws_api(version: &str) -> bool {
    let api = |kind: Kind| kind.api_version().split('/').next();
    let group = version.split('/').next();
    Kind::ALL.iter().any(|kind| api(*kind) == group)
}

pub(super) fn read(document: &Located<Value>) -> Result<Desired, Vec<Problem>> {
    let refused = |violations: Vec<Violation>| {
        let problem = |violation| problem(&document.origin, None, violation);
        violations
            .into_iter()
            .map(problem)
            .collect::<Vec<Problem>>()
    };
    let kind = kind(&document.object).map_err(|violation| refused(vec![violation]))?;
    let (id, tags) = identity(kind, &document.object).map_err(refused)?;
    let location = Location {
        origin: document.origin.clone(),
        spec: "spec".into(),
        name: "metadata.name".into(),
        container: "metadata".into(),
    };
    // The status belongs to the server, and is ignored.
    const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let members = document.object.as_object().into_iter();
    let mut problems: Vec<Problem> = members
        .flat_map(|members| unknown_members(members, &KNOWN, &FieldPath::root()))
        .map(|violation| location.problem(&id, violation))
        .collect();
    let empty = Value::Object(Map::new());
    let spec = match &document.object["spec"] {
        Value::Null => &empty,
        spec => spec,
    };
    match content(&id, spec, &location) {
        Ok(content) if problems.is_empty() => Ok(Desired {
            id,
            content,
            tags,
            location,
        }),
        Ok(_) => Err(problems),
        Err(of_spec) => {
            problems.extend(of_spec);
            Err(problems)
        }
    }
}

fn kind(document: &Value) -> Result<Kind, Violation> {
    if !document.is_object() {
        let message = "is no document; write a map with apiVersion, kind, metadata and spec";
        return Err(Violation::new(FieldPath::root(), message));
    }
    let Some(title) = document["kind"].as_str() else {
        let known = Kind::ALL.map(Kind::title).join(", ");
        return Err(Violation::new(
            "kind",
            format!("is missing; known are {known}"),
        ));
    };
    let kind =
        Kind::from_title(title).map_err(|error| Violation::new("kind", error.to_string()))?;
    match document["apiVersion"].as_str() {
        Some(version) if version == kind.api_version() => Ok(kind),
        given => {
            let right = kind.api_version();
            let message = match given {
                Some(version) => {
                    format!("{version} has no kind {title}; write apiVersion: {right}")
                }
                None => format!("is missing; write apiVersion: {right}"),
            };
            Err(Violation::new("apiVersion", message))
        }
    }
}

type Identity = (Id, Option<BTreeMap<String, String>>);

/// Name, containers and tags; or all problems with them.
fn identity(kind: Kind, document: &Value) -> Result<Identity, Vec<Violation>> {
    let metadata = FieldPath::from("metadata");
    let Value::Object(members) = &document["metadata"] else {
        let message = format!("is missing; a {} needs {}", kind.title(), needed(kind));
        return Err(vec![Violation::new(metadata, message)]);
    };
    let mut violations = Vec::new();
    let mut text = |member: &str| match members.get(member) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        given => {
            let what = match given {
                None | Some(Value::Null) => "is missing",
                Some(Value::String(_)) => "is empty",
                Some(_) => "is not text; put it in quotes",
            };
            let message = format!("{what}; a {} needs {}", kind.title(), needed(kind));
            violations.push(Violation::new(metadata.clone().field(member), message));
            String::new()
        }
    };
    let name = text("name");
    let containers: Vec<String> = Id::containers(kind).iter().map(|it| text(it)).collect();
    let takes_tags = kind != Kind::Instance;
    let mut known = vec!["name"];
    known.extend(Id::containers(kind));
    if takes_tags {
        known.push("tags");
    }
    violations.extend(unknown_members(members, &known, &metadata));
    let tags = members.get("tags").filter(|_| takes_tags);
    let tags = tags.and_then(|tags| match read_tags(tags) {
        Ok(tags) => tags,
        Err(violation) => {
            violations.push(violation);
            None
        }
    });
    match Id::new(kind, &containers, name) {
        Some(id) if violations.is_empty() => Ok((id, tags)),
        _ => Err(violations),
    }
}

fn needed(kind: Kind) -> String {
    let mut members = vec!["metadata.name".to_owned()];
    let containers = Id::containers(kind).iter();
    members.extend(containers.map(|member| format!("metadata.{member}")));
    match members.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn read_tags(tags: &Value) -> Result<Option<BTreeMap<String, String>>, Violation> {
    let at = FieldPath::from("metadata.tags");
    match tags {
        Value::Null => Ok(None),
        Value::Object(members) => {
            let read = |(key, value): (&String, &Value)| match value {
                Value::String(value) => Ok((key.clone(), value.clone())),
                _ => {
                    let at = at.clone().field(key);
                    Err(Violation::new(at, "is not text; put it in quotes"))
                }
            };
            members.iter().map(read).collect::<Result<_, _>>().map(Some)
        }
        _ => Err(Violation::new(at, "is no map; write key: \"value\"")),
    }
}

/// A violation for each unknown member.
fn unknown_members(members: &Map<String, Value>, known: &[&str], at: &FieldPath) -> Vec<Violation> {
    let unknown = members.keys().filter(|it| !known.contains(&it.as_str()));
    let violation = |member: &String| {
        let message = match nearest(member, known) {
            Some(near) => format!("is not known; write {near}"),
            None if member == "tags" => "instances have no tags, but attributes".into(),
            None => format!("is not known; known are {}", known.join(", ")),
        };
        Violation::new(at.clone().field(member), message)
    };
    unknown.map(violation).collect()
}
