//! Tags of resources, which are named by ARN.

use super::{
    Page,
    errors::{self, bad_request, not_found},
    list,
};
use crate::{call::Call, error::ApiError, wire::json};
use serde_json::json;
use tombolo_model::{
    Command,
    apply::appmesh,
    appmesh::{ResourceKey, Tag},
    arn,
};

pub(super) async fn tag(
    call: &Call<'_>,
    resource_arn: &str,
    tags: Vec<Tag>,
) -> Result<Vec<u8>, ApiError> {
    let key = resource_key(call, resource_arn)?;
    commit(call, appmesh::Command::Tag { key, tags }).await
}

pub(super) async fn untag(
    call: &Call<'_>,
    resource_arn: &str,
    tag_keys: Vec<String>,
) -> Result<Vec<u8>, ApiError> {
    let key = resource_key(call, resource_arn)?;
    commit(call, appmesh::Command::Untag { key, tag_keys }).await
}

/// Sorted by key, so that a page can start after the last key of the page before.
pub(super) fn list(call: &Call<'_>, resource_arn: &str, page: &Page) -> Result<Vec<u8>, ApiError> {
    let paging = page.paging("tags", 1..=50)?;
    let key = resource_key(call, resource_arn)?;
    let view = call.view();
    let Some(resource) = view.resource(&call.scope, &key) else {
        return Err(not_found(format!("no resource has the ARN of {key}")));
    };
    let mut tags: Vec<&Tag> = resource.tags.iter().collect();
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    let page = paging.page(tags.into_iter(), |tag| &tag.key);
    Ok(list::answer("tags", &page.items, page.next))
}

async fn commit(call: &Call<'_>, command: appmesh::Command) -> Result<Vec<u8>, ApiError> {
    call.commit(Command::AppMesh(command))
        .await
        .map_err(errors::from_commit)?;
    Ok(json::write(&json!({})))
}

fn resource_key(call: &Call<'_>, text: &str) -> Result<ResourceKey, ApiError> {
    let name = arn::parse_resource(text)
        .ok_or_else(|| bad_request(format!("resourceArn: {text:?} is not an App Mesh ARN")))?;
    match name.scope {
        None => Err(bad_request(format!("resourceArn: {text:?} is not an ARN"))),
        Some(scope) if scope != call.scope => {
            Err(not_found(format!("no resource has the ARN {text}")))
        }
        Some(_) => Ok(name.key),
    }
}
