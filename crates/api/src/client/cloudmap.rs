//! Calls of Cloud Map.

mod instance;
mod namespace;
mod operation;
mod service;

pub use instance::{Discover, Discovered, Instance};
pub use namespace::Namespace;
pub use operation::Operation;
pub use service::Service;

use super::{Client, Error, transport::Outgoing};
use crate::{
    cloudmap::{ListTagsForResource, OperationId, TagResource, UntagResource},
    operation::RpcOperation,
    service::Service as AwsService,
    wire::Protocol,
};
use http::Method;
use serde_json::Value;
use tombolo_model::appmesh::Tag;

impl Client {
    /// Calls an operation.
    async fn cloud_map<O: RpcOperation>(&self, operation: &O) -> Result<O::Output, Error> {
        let mut input = serde_json::to_value(operation)?;
        remove_nulls(&mut input);
        let service = AwsService::CloudMap;
        let rpc_name = service.rpc_name().unwrap_or_default();
        let call = Outgoing {
            service: service.signing_name(),
            content_type: Protocol::Json11.request_type(),
            method: Method::POST,
            target: "/".into(),
            operation: Some(format!("{rpc_name}.{}", O::NAME)),
            body: input.to_string().into(),
        };
        Ok(serde_json::from_slice(&self.transport.send(&call).await?)?)
    }

    /// Calls an operation that answers with the id of an operation of the service.
    async fn cloud_map_operation<O: RpcOperation<Output = OperationId>>(
        &self,
        operation: &O,
    ) -> Result<String, Error> {
        Ok(self.cloud_map(operation).await?.operation_id)
    }

    /// The tags of the namespace or service of an ARN.
    pub async fn registry_tags(&self, arn: &str) -> Result<Vec<Tag>, Error> {
        let list = ListTagsForResource {
            resource_arn: arn.to_owned(),
        };
        Ok(self.cloud_map(&list).await?.tags)
    }

    /// Adds tags to the namespace or service of an ARN, or overwrites their values.
    pub async fn tag_registry(&self, arn: &str, tags: &[Tag]) -> Result<(), Error> {
        let tag = TagResource {
            resource_arn: arn.to_owned(),
            tags: tags.to_vec(),
        };
        self.cloud_map(&tag).await.map(drop)
    }

    /// Removes tags from the namespace or service of an ARN.
    pub async fn untag_registry(&self, arn: &str, keys: &[String]) -> Result<(), Error> {
        let untag = UntagResource {
            resource_arn: arn.to_owned(),
            tag_keys: keys.to_vec(),
        };
        self.cloud_map(&untag).await.map(drop)
    }
}

/// Removes absent members, because some servers read a null as a value.
fn remove_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(remove_nulls);
    }
}
