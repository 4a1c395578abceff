//! Tags of namespaces and services, which are named by ARN (facts/cloudmap-api.md §12).

use super::{Empty, errors, invalid};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, reply},
    wire::json,
};
use serde::{Deserialize, Serialize};
use tombolo_model::{
    Command, Scope,
    apply::cloudmap::{self, Tagged},
    appmesh::Tag,
    arn::{self, RegistryName},
    cloudmap::tag_list,
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagResource {
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: String,
    #[serde(with = "tag_list")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UntagResource {
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: String,
    pub(crate) tag_keys: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListTagsForResource {
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListTagsForResourceOutput {
    #[serde(with = "tag_list")]
    pub(crate) tags: Vec<Tag>,
}

/// Maximum length of the ARN of a resource with tags.
const MAX_ARN: usize = 1011;

impl RpcOperation for TagResource {
    type Output = Empty;

    fn resource(&self, scope: &Scope) -> String {
        canonical_arn(scope, &self.resource_arn)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::AddTags {
            resource: resource(call, &self.resource_arn)?,
            tags: self.tags,
        };
        run(call, command, self.resource_arn).await
    }
}

impl RpcOperation for UntagResource {
    type Output = Empty;

    fn resource(&self, scope: &Scope) -> String {
        canonical_arn(scope, &self.resource_arn)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::RemoveTags {
            resource: resource(call, &self.resource_arn)?,
            tag_keys: self.tag_keys,
        };
        run(call, command, self.resource_arn).await
    }
}

async fn run(
    call: &Call<'_>,
    command: impl Into<cloudmap::Command>,
    arn: String,
) -> Result<Vec<u8>, ApiError> {
    let committed = call.commit(Command::CloudMap(command.into())).await;
    committed.map_err(|error| {
        let error = errors::from_commit(error);
        match error.code {
            errors::TOO_MANY_TAGS => error.with("ResourceName", Some(arn)),
            _ => error,
        }
    })?;
    Ok(json::write(&Empty {}))
}

/// Lists tags in the order in which they were added.
impl RpcOperation for ListTagsForResource {
    type Output = ListTagsForResourceOutput;

    fn resource(&self, scope: &Scope) -> String {
        canonical_arn(scope, &self.resource_arn)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let resource = resource(call, &self.resource_arn)?;
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let tags = match &resource {
            Tagged::Namespace(id) => view.namespace(id).map(|namespace| &namespace.tags),
            Tagged::Service(id) => view.service(id).map(|service| &service.tags),
        };
        let tags = tags.ok_or_else(|| not_found(&self.resource_arn))?;
        reply::<Self>(&ListTagsForResourceOutput { tags: tags.clone() })
    }
}

/// The canonical ARN, which policies are matched with; `*` if the text is not an ARN.
fn canonical_arn(scope: &Scope, text: &str) -> String {
    match arn::parse_registry(scope, text) {
        Some(RegistryName::Namespace(id)) => arn::of_namespace(scope, &id),
        Some(RegistryName::Service(id)) => arn::of_service(scope, &id),
        Some(RegistryName::Foreign) => text.to_owned(),
        None => ANY.to_owned(),
    }
}

fn resource(call: &Call<'_>, text: &str) -> Result<Tagged, ApiError> {
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

fn not_found(arn: &str) -> ApiError {
    ApiError::bad_request(
        "ResourceNotFoundException",
        format!("no namespace or service has the ARN {arn}"),
    )
}
