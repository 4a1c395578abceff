//! Inputs and outputs of the aws CLI whose members name their kind: what `--cli-input-json` takes for the seven
//! kinds of App Mesh, bare as input or wrapped as `describe-…` prints it.

use super::{Desired, Location, content, problem};
use crate::resource::{id::Id, kind::Kind};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tombolo_kube::{
    Denial, FieldPath,
    manifest::{Located, Problem},
};
use tombolo_model::appmesh;

/// How the members of each kind are called that hold the names, outermost first, and last its own.
const NAMES: [(appmesh::Kind, &[&str]); 7] = [
    // Kinds with more names come first: their documents have those of the others too.
    (
        appmesh::Kind::Route,
        &["meshName", "virtualRouterName", "routeName"],
    ),
    (
        appmesh::Kind::GatewayRoute,
        &["meshName", "virtualGatewayName", "gatewayRouteName"],
    ),
    (appmesh::Kind::VirtualNode, &["meshName", "virtualNodeName"]),
    (
        appmesh::Kind::VirtualRouter,
        &["meshName", "virtualRouterName"],
    ),
    (
        appmesh::Kind::VirtualService,
        &["meshName", "virtualServiceName"],
    ),
    (
        appmesh::Kind::VirtualGateway,
        &["meshName", "virtualGatewayName"],
    ),
    (appmesh::Kind::Mesh, &["meshName"]),
];

/// Members that are no part of the desired state.
const IGNORED: [&str; 5] = ["clientToken", "metadata", "status", "meshOwner", "tags"];

pub(super) fn read(document: &Located<Value>) -> Result<Desired, Vec<Problem>> {
    let refused = |denial| vec![problem(&document.origin, None, denial)];
    let (at, members) = unwrap(&document.object).ok_or_else(|| refused(unknown()))?;
    let (kind, names) = NAMES
        .into_iter()
        .find(|(_, names)| names.iter().all(|name| text_of(members, name).is_some()))
        .ok_or_else(|| refused(unknown()))?;
    let stray = members.keys().find(|member| {
        let member = member.as_str();
        member != "spec" && !names.contains(&member) && !IGNORED.contains(&member)
    });
    if let Some(member) = stray {
        let message = format!("a {} has no such member", kind.title());
        return Err(refused(Denial::new(at.field(member), message)));
    }
    let given = names.iter().filter_map(|name| text_of(members, name));
    let mut names_given: Vec<String> = given.map(str::to_owned).collect();
    let name = names_given.pop().unwrap_or_default();
    let id = Id::new(Kind::Mesh(kind), &names_given, name).ok_or_else(|| refused(unknown()))?;
    let location = Location {
        origin: document.origin.clone(),
        spec: at.clone().field("spec"),
        name: at.clone().field(names.last().copied().unwrap_or_default()),
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

/// The document, or what is under the one member of an output, such as `virtualNode`.
fn unwrap(document: &Value) -> Option<(FieldPath, &Map<String, Value>)> {
    let members = document.as_object()?;
    let mut all = members.iter();
    if let (Some((word, Value::Object(inner))), None) = (all.next(), all.next())
        && appmesh::Kind::from_path_word(word).is_some()
    {
        return Some((FieldPath::root().field(word), inner));
    }
    Some((FieldPath::root(), members))
}

fn text_of<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

fn unknown() -> Denial {
    let message = "has neither apiVersion and kind, nor the names (meshName, virtualNodeName …) that an input \
                   of aws appmesh has; see `tombolo apply --help`";
    Denial::new(FieldPath::root(), message)
}

fn tags(tags: Option<&Value>, at: &FieldPath) -> Result<Option<BTreeMap<String, String>>, Denial> {
    let Some(tags) = tags else {
        return Ok(None);
    };
    let read: Result<Vec<appmesh::Tag>, _> = serde_json::from_value(tags.clone());
    let pairs =
        |tags: Vec<appmesh::Tag>| tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    match read {
        Ok(tags) => Ok(Some(pairs(tags))),
        Err(error) => Err(Denial::new(at.clone().field("tags"), error.to_string())),
    }
}
