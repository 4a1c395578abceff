//! Inputs and outputs of the aws CLI whose members identify their kind: the `--cli-input-json` of the seven kinds of
//! App Mesh, bare as input or wrapped as in the output of `describe-…`.

use super::{Desired, Location, content, problem};
use crate::resource::{id::Id, kind::Kind};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tombolo_kube::{
    FieldPath, Violation,
    manifest::{Located, Problem},
};
use tombolo_model::appmesh;

/// Kinds with more names come first: their documents also have the names of the others.
const KINDS: [appmesh::Kind; 7] = [
    appmesh::Kind::Route,
    appmesh::Kind::GatewayRoute,
    appmesh::Kind::VirtualNode,
    appmesh::Kind::VirtualRouter,
    appmesh::Kind::VirtualService,
    appmesh::Kind::VirtualGateway,
    appmesh::Kind::Mesh,
];

/// The members with the names of a resource and its containers, outermost first: `meshName`, `virtualRouterName`,
/// `routeName`.
fn names(kind: appmesh::Kind) -> Vec<String> {
    let mut kinds = vec![appmesh::Kind::Mesh];
    kinds.extend(kind.parent());
    kinds.extend(Some(kind).filter(|kind| *kind != appmesh::Kind::Mesh));
    let member = |kind: &appmesh::Kind| {
        let (first, rest) = kind.as_str().split_at(1);
        format!("{}{rest}Name", first.to_lowercase())
    };
    kinds.iter().map(member).collect()
}

/// Members that are not part of the desired state.
const IGNORED: [&str; 5] = ["clientToken", "metadata", "status", "meshOwner", "tags"];

pub(super) fn read(document: &Located<Value>) -> Result<Desired, Vec<Problem>> {
    let refused = |violation| vec![problem(&document.origin, None, violation)];
    let (at, members) = unwrap(&document.object).ok_or_else(|| refused(unknown()))?;
    let (kind, names) = KINDS
        .into_iter()
        .map(|kind| (kind, names(kind)))
        .find(|(_, names)| names.iter().all(|name| text_of(members, name).is_some()))
        .ok_or_else(|| refused(unknown()))?;
    let stray = members.keys().find(|member| {
        let member = member.as_str();
        member != "spec" && !names.iter().any(|name| name == member) && !IGNORED.contains(&member)
    });
    if let Some(member) = stray {
        let message = format!("a {} has no such member", kind.as_str());
        return Err(refused(Violation::new(at.field(member), message)));
    }
    let given = names.iter().filter_map(|name| text_of(members, name));
    let mut names_given: Vec<String> = given.map(str::to_owned).collect();
    let name = names_given.pop().unwrap_or_default();
    let id = Id::new(Kind::Mesh(kind), &names_given, name).ok_or_else(|| refused(unknown()))?;
    let location = Location {
        origin: document.origin.clone(),
        spec: at.clone().field("spec"),
        name: at
            .clone()
            .field(names.last().map(String::as_str).unwrap_or_default()),
        container: at.clone(),
    };
    let tags = tags(members.get("tags"), &at).map_err(refused)?;
    let empty = Value::Object(Map::new());
    let spec = match &members.get("spec") {
        None | Some(Value::Null) => &empty,
        Some(spec) => spec,
    };
    let content = content(&id, spec, &location)?;
    Ok(Desired {
        id,
        content,
        tags,
        location,
    })
}

/// The document, or the single member of an output, such as `virtualNode`.
fn unwrap(document: &Value) -> Option<(FieldPath, &Map<String, Value>)> {
    let members = document.as_object()?;
    let mut all = members.iter();
    if let (Some((word, Value::Object(inner))), None) = (all.next(), all.next())
        && appmesh::Kind::from_path_segment(word).is_some()
    {
        return Some((FieldPath::root().field(word), inner));
    }
    Some((FieldPath::root(), members))
}

fn text_of<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

fn unknown() -> Violation {
    let message = "has neither apiVersion and kind, nor the names (meshName, virtualNodeName …) that an input \
                   of aws appmesh has; see `tombolo apply --help`";
    Violation::new(FieldPath::root(), message)
}

fn tags(
    tags: Option<&Value>,
    at: &FieldPath,
) -> Result<Option<BTreeMap<String, String>>, Violation> {
    let Some(tags) = tags else {
        return Ok(None);
    };
    let read: Result<Vec<appmesh::Tag>, _> = serde_json::from_value(tags.clone());
    let pairs =
        |tags: Vec<appmesh::Tag>| tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    match read {
        Ok(tags) => Ok(Some(pairs(tags))),
        Err(error) => Err(Violation::new(at.clone().field("tags"), error.to_string())),
    }
}
