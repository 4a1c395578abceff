//! What all calls to Cloud Map share.

use super::{Client, Error, transport::Outgoing};
use crate::wire::{Door, door::CLOUD_MAP_TARGET};
use http::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tombolo_model::appmesh::Tag;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OperationId {
    operation_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagsOutput {
    tags: Vec<TagShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagShape {
    key: String,
    value: String,
}

impl Client {
    /// Calls an operation; absent members of the input are not sent.
    pub(super) async fn registry_call<T: DeserializeOwned>(
        &self,
        operation: &str,
        mut input: Value,
    ) -> Result<T, Error> {
        if let Value::Object(members) = &mut input {
            members.retain(|_, value| !value.is_null());
        }
        let call = Outgoing {
            door: Some(Door::CloudMap),
            method: Method::POST,
            target: "/".into(),
            operation: Some(&format!("{CLOUD_MAP_TARGET}{operation}")),
            body: input.to_string().into(),
        };
        let answer = self.transport.send(&call).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::Protocol(error.to_string()))
    }

    /// Calls an operation that answers with the id of an operation.
    pub(super) async fn registry_operation(
        &self,
        operation: &str,
        input: Value,
    ) -> Result<String, Error> {
        let answer: OperationId = self.registry_call(operation, input).await?;
        Ok(answer.operation_id)
    }

    /// All pages of a list.
    pub(super) async fn registry_pages<T: DeserializeOwned>(
        &self,
        operation: &str,
        mut input: Value,
        member: &str,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        loop {
            let mut page: Value = self.registry_call(operation, input.clone()).await?;
            let items = page.get_mut(member).map(Value::take).unwrap_or_default();
            let items: Vec<T> = serde_json::from_value(items)
                .map_err(|error| Error::Protocol(error.to_string()))?;
            all.extend(items);
            match page.get("NextToken").and_then(Value::as_str) {
                Some(token) => input["NextToken"] = token.into(),
                None => return Ok(all),
            }
        }
    }
}

impl Client {
    /// The tags of the namespace or service of an ARN.
    pub async fn registry_tags(&self, arn: &str) -> Result<Vec<Tag>, Error> {
        let input = json!({ "ResourceARN": arn });
        let answer: TagsOutput = self.registry_call("ListTagsForResource", input).await?;
        let read = |TagShape { key, value }| Tag { key, value };
        Ok(answer.tags.into_iter().map(read).collect())
    }

    /// Gives a namespace or service, named by its ARN, tags or other values of them.
    pub async fn tag_registry(&self, arn: &str, tags: &[Tag]) -> Result<(), Error> {
        let input = json!({ "ResourceARN": arn, "Tags": self::tags(tags) });
        let _: Value = self.registry_call("TagResource", input).await?;
        Ok(())
    }

    /// Takes tags from a namespace or service, which is named by its ARN.
    pub async fn untag_registry(&self, arn: &str, keys: &[String]) -> Result<(), Error> {
        let input = json!({ "ResourceARN": arn, "TagKeys": keys });
        let _: Value = self.registry_call("UntagResource", input).await?;
        Ok(())
    }
}

/// Tags as Cloud Map spells them.
pub(super) fn tags(tags: &[Tag]) -> Value {
    let spell = |tag: &Tag| json!({ "Key": tag.key, "Value": tag.value });
    match tags {
        [] => Value::Null,
        tags => tags.iter().map(spell).collect(),
    }
}
