//! The attributes of services themselves.

use super::{Empty, ids, run};
use crate::{
    call::Call,
    error::ApiError,
    operation::{RpcOperation, reply},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tombolo_model::{Scope, apply::cloudmap, arn};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetServiceAttributes {
    pub(crate) service_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateServiceAttributes {
    pub(crate) service_id: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteServiceAttributes {
    pub(crate) service_id: String,
    /// Keys alone.
    pub(crate) attributes: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetServiceAttributesOutput {
    pub(crate) service_attributes: ServiceAttributesShape,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceAttributesShape {
    pub(crate) service_arn: String,
    pub(crate) resource_owner: String,
    /// As the model has it, there is at least one, or no member.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attributes: BTreeMap<String, String>,
}

impl RpcOperation for GetServiceAttributes {
    type Output = GetServiceAttributesOutput;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let view = call.view();
        let (_, service) = ids::service(call, view.scope(&call.scope), &self.service_id)?;
        reply::<Self>(&GetServiceAttributesOutput {
            service_attributes: ServiceAttributesShape {
                service_arn: arn::of_service(&call.scope, &service.id),
                resource_owner: call.scope.account.to_string(),
                attributes: service.attributes.clone(),
            },
        })
    }
}

impl RpcOperation for UpdateServiceAttributes {
    type Output = Empty;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::Command::UpdateServiceAttributes {
            service_id: ids::service_id(call, &self.service_id)?.to_owned(),
            attributes: self.attributes,
        };
        run(call, command).await
    }
}

impl RpcOperation for DeleteServiceAttributes {
    type Output = Empty;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::Command::DeleteServiceAttributes {
            service_id: ids::service_id(call, &self.service_id)?.to_owned(),
            keys: self.attributes,
        };
        run(call, command).await
    }
}
