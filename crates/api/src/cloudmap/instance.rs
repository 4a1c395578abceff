//! Instances.

use super::{OperationId, errors, ids, paging, run_operation};
use crate::{
    call::Call,
    error::ApiError,
    operation::{RpcOperation, reply},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Bound};
use tombolo_model::{Scope, apply::cloudmap, cloudmap::Instance};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RegisterInstance {
    pub(crate) service_id: String,
    pub(crate) instance_id: String,
    pub(crate) creator_request_id: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeregisterInstance {
    pub(crate) service_id: String,
    pub(crate) instance_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetInstance {
    pub(crate) service_id: String,
    pub(crate) instance_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListInstances {
    pub(crate) service_id: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetInstanceOutput {
    pub(crate) resource_owner: String,
    pub(crate) instance: InstanceShape,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListInstancesOutput {
    pub(crate) resource_owner: String,
    pub(crate) instances: Vec<InstanceShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// `Instance` and `InstanceSummary`; the latter has no token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InstanceShape {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creator_request_id: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) created_by_account: String,
}

impl RpcOperation for RegisterInstance {
    type Output = OperationId;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::RegisterInstance {
            service_id: ids::service_id(call, &self.service_id)?.to_owned(),
            instance_id: self.instance_id,
            attributes: self.attributes,
            creator_request_id: self.creator_request_id,
        };
        run_operation(call, cloudmap::Command::RegisterInstance(command)).await
    }
}

impl RpcOperation for DeregisterInstance {
    type Output = OperationId;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::Command::DeregisterInstance {
            service_id: ids::service_id(call, &self.service_id)?.to_owned(),
            instance_id: self.instance_id,
        };
        run_operation(call, command).await
    }
}

impl RpcOperation for GetInstance {
    type Output = GetInstanceOutput;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        ids::check_instance_id(&self.instance_id)?;
        let view = call.view();
        let (scope, service) = ids::service(call, view.scope(&call.scope), &self.service_id)?;
        let instance = scope
            .instance(&service.id, &self.instance_id)
            .ok_or_else(|| errors::instance_not_found(&service.name, &self.instance_id))?;
        reply::<Self>(&GetInstanceOutput {
            resource_owner: call.scope.account.to_string(),
            instance: InstanceShape {
                creator_request_id: instance.creator_request_id.clone(),
                ..summary(call, instance)
            },
        })
    }
}

impl RpcOperation for ListInstances {
    type Output = ListInstancesOutput;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let paging = paging("instances", self.max_results, self.next_token.as_deref())?;
        let view = call.view();
        let (scope, service) = ids::service(call, view.scope(&call.scope), &self.service_id)?;
        let start = paging.after().map_or(Bound::Unbounded, Bound::Excluded);
        let instances = scope
            .instances(&service.id)
            .into_iter()
            .flat_map(|instances| instances.by_id.range::<_, str>((start, Bound::Unbounded)))
            .map(|(_, instance)| instance);
        let page = paging.page(instances, |instance| &instance.id);
        reply::<Self>(&ListInstancesOutput {
            resource_owner: call.scope.account.to_string(),
            instances: page
                .items
                .into_iter()
                .map(|instance| summary(call, instance))
                .collect(),
            next_token: page.next,
        })
    }
}

fn summary(call: &Call<'_>, instance: &Instance) -> InstanceShape {
    InstanceShape {
        id: instance.id.to_string(),
        creator_request_id: None,
        attributes: instance.attributes.clone().into(),
        created_by_account: call.scope.account.to_string(),
    }
}
