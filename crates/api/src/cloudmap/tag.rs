//! Tags of namespaces and services, which are named by ARN (facts/cloudmap-api.md §12).

use super::{errors, invalid, read, write};
use crate::wire::{Call, Failure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tombolo_model::{
    Command,
    apply::cloudmap::{self, Tagged},
    appmesh::Tag,
    arn::{self, RegistryName},
};

/// A tag as Cloud Map spells it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagInput {
    key: String,
    /// May be empty, but must be there.
    value: String,
}

#[derive(Deserialize)]
struct TagResourceInput {
    #[serde(rename = "ResourceARN")]
    resource: String,
    #[serde(rename = "Tags")]
    tags: Vec<TagInput>,
}

#[derive(Deserialize)]
struct UntagResourceInput {
    #[serde(rename = "ResourceARN")]
    resource: String,
    #[serde(rename = "TagKeys")]
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
struct ListInput {
    #[serde(rename = "ResourceARN")]
    resource: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shape<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListOutput<'a> {
    tags: Vec<Shape<'a>>,
}

/// Longest ARN of a resource with tags.
const MAX_ARN: usize = 1011;

/// The tags of an input. None when the member is absent.
pub(super) fn tags(input: Option<Vec<TagInput>>) -> Vec<Tag> {
    let read = |TagInput { key, value }| Tag { key, value };
    input.into_iter().flatten().map(read).collect()
}

pub(super) async fn tag(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: TagResourceInput = read(call)?;
    let command = cloudmap::Command::Tag {
        resource: resource(call, &input.resource)?,
        tags: tags(Some(input.tags)),
    };
    commit(call, command, input.resource).await
}

pub(super) async fn untag(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: UntagResourceInput = read(call)?;
    let command = cloudmap::Command::Untag {
        resource: resource(call, &input.resource)?,
        tag_keys: input.tag_keys,
    };
    commit(call, command, input.resource).await
}

async fn commit(
    call: &Call<'_>,
    command: cloudmap::Command,
    arn: String,
) -> Result<Vec<u8>, Failure> {
    let committed = call.commit(Command::CloudMap(command)).await;
    committed.map_err(|error| {
        let failure = errors::from_commit(error);
        match failure.code {
            errors::TOO_MANY_TAGS => failure.with("ResourceName", Some(arn)),
            _ => failure,
        }
    })?;
    write(&json!({}))
}

/// In the order in which they came.
pub(super) fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: ListInput = read(call)?;
    let resource = resource(call, &input.resource)?;
    let view = call.view();
    let tags = (view.scope(&call.scope)).and_then(|scope| match &resource {
        Tagged::Namespace(id) => scope.namespace(id).map(|namespace| &namespace.tags),
        Tagged::Service(id) => scope.service(id).map(|service| &service.tags),
    });
    let tags = tags.ok_or_else(|| not_found(&input.resource))?;
    write(&ListOutput {
        tags: tags
            .iter()
            .map(|Tag { key, value }| Shape { key, value })
            .collect(),
    })
}

fn resource(call: &Call<'_>, text: &str) -> Result<Tagged, Failure> {
    if !(1..=MAX_ARN).contains(&text.chars().count()) {
        let message = format!("ResourceARN: has 1 to {MAX_ARN} characters");
        return Err(invalid(message));
    }
    match arn::parse_registry(&call.scope, text) {
        Some(RegistryName::Namespace(id)) => Ok(Tagged::Namespace(id)),
        Some(RegistryName::Service(id)) => Ok(Tagged::Service(id)),
        Some(RegistryName::Foreign) => Err(not_found(text)),
        None => Err(invalid(format!("ResourceARN: {text:?} is not an ARN"))),
    }
}

fn not_found(arn: &str) -> Failure {
    Failure::bad(
        "ResourceNotFoundException",
        format!("no namespace or service has the ARN {arn}"),
    )
}
