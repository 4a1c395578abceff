//! What all calls to Cloud Map share.

use super::{Client, Error, transport::Outgoing};
use crate::wire::{Door, door::CLOUD_MAP_TARGET};
use http::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tombolo_model::mesh::Tag;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OperationId {
    operation_id: String,
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

/// Tags as Cloud Map spells them.
pub(super) fn tags(tags: &[Tag]) -> Value {
    let spell = |tag: &Tag| json!({ "Key": tag.key, "Value": tag.value });
    match tags {
        [] => Value::Null,
        tags => tags.iter().map(spell).collect(),
    }
}
