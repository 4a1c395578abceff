//! Tags of resources, which are named by ARN.

use super::{
    BAD_REQUEST, errors,
    errors::{bad_request, not_found},
    list,
};
use crate::wire::{Call, Failure, json, percent};
use serde::Deserialize;
use serde_json::{Value, json};
use tombolo_model::{
    Command,
    apply::appmesh,
    appmesh::{ResourceKey, Tag},
    arn,
};

#[derive(Deserialize)]
struct TagInput {
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntagInput {
    tag_keys: Vec<String>,
}

pub(super) async fn tag(call: &Call<'_>) -> Result<Value, Failure> {
    let input: TagInput = json::read(&call.body, BAD_REQUEST)?;
    let command = appmesh::Command::Tag {
        key: resource_key(call)?,
        tags: input.tags,
    };
    commit(call, command).await
}

pub(super) async fn untag(call: &Call<'_>) -> Result<Value, Failure> {
    let input: UntagInput = json::read(&call.body, BAD_REQUEST)?;
    let command = appmesh::Command::Untag {
        key: resource_key(call)?,
        tag_keys: input.tag_keys,
    };
    commit(call, command).await
}

/// Sorted by key, so that a page can start after the last key of the page before.
pub(super) fn list(call: &Call<'_>) -> Result<Value, Failure> {
    let paging = list::paging(call, "tags", 1..=50)?;
    let key = resource_key(call)?;
    let view = call.view();
    let Some(resource) = view.resource(&call.scope, &key) else {
        return Err(not_found(format!("no resource has the ARN of {key}")));
    };
    let mut tags: Vec<&Tag> = resource.tags.iter().collect();
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    let page = paging.page(tags.into_iter(), |tag| &tag.key);
    let items = page.items.iter().map(|tag| json!(tag)).collect();
    Ok(list::answer("tags", items, page.next))
}

async fn commit(call: &Call<'_>, command: appmesh::Command) -> Result<Value, Failure> {
    call.commit(Command::AppMesh(command))
        .await
        .map_err(errors::from_commit)?;
    Ok(json!({}))
}

fn resource_key(call: &Call<'_>) -> Result<ResourceKey, Failure> {
    let Some(text) = percent::query_value(call.query(), "resourceArn") else {
        return Err(bad_request("resourceArn: must be given"));
    };
    let name = arn::parse_resource(&text)
        .ok_or_else(|| bad_request(format!("resourceArn: {text:?} is not an App Mesh ARN")))?;
    match name.scope {
        None => Err(bad_request(format!("resourceArn: {text:?} is not an ARN"))),
        Some(scope) if scope != call.scope => {
            Err(not_found(format!("no resource has the ARN {text}")))
        }
        Some(_) => Ok(name.key),
    }
}
