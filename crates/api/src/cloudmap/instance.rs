//! Reads of instances and of their health.

use super::{errors::from_rejection, invalid, lookup, paging};
use crate::{
    call::Call,
    error::ApiError,
    operation::{RpcOperation, reply},
    wire::{Paging, paging::Page},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use tombolo_model::{
    Scope, ScopeView,
    apply::cloudmap,
    cloudmap::{Health, Instance, Service},
};

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

/// `Instance` and `InstanceSummary`; the latter has no `CreatorRequestId`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InstanceShape {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creator_request_id: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) created_by_account: String,
}

impl RpcOperation for GetInstance {
    type Output = GetInstanceOutput;

    fn resource(&self, scope: &Scope) -> String {
        lookup::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        cloudmap::check_instance_id(&self.instance_id).map_err(from_rejection)?;
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let service = lookup::service(call, view, &self.service_id)?;
        let instance = cloudmap::instance(view, service, &self.instance_id);
        let instance = instance.map_err(from_rejection)?;
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
        lookup::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let paging = paging("instances", self.max_results, self.next_token.as_deref())?;
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let service = lookup::service(call, view, &self.service_id)?;
        let page = page_of_all(&paging, view, service);
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetInstancesHealthStatus {
    pub(crate) service_id: String,
    pub(crate) instances: Option<Vec<String>>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetInstancesHealthStatusOutput {
    /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`, by instance id.
    pub(crate) status: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// The health of an instance in outputs: `UNKNOWN` if its service has no health check.
pub(super) fn status(service: &Service, health: Health) -> &'static str {
    match service.is_health_checked() {
        true => health.as_str(),
        false => "UNKNOWN",
    }
}

impl RpcOperation for GetInstancesHealthStatus {
    type Output = GetInstancesHealthStatusOutput;

    fn resource(&self, scope: &Scope) -> String {
        lookup::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let token = self.next_token.as_deref();
        let paging = paging("instancesHealth", self.max_results, token)?;
        for id in self.instances.iter().flatten() {
            cloudmap::check_instance_id(id).map_err(from_rejection)?;
        }
        if self.instances.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid("Instances: must not be empty"));
        }
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let service = lookup::service(call, view, &self.service_id)?;
        let page = match self.instances {
            None => page_of_all(&paging, view, service),
            Some(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                let found = ids.iter().map(|id| cloudmap::instance(view, service, id));
                let found: Result<Vec<_>, _> = found.collect();
                let found = found.map_err(from_rejection)?;
                paging.page(found.into_iter(), |instance| &instance.id)
            }
        };
        let item = |instance: &Arc<Instance>| {
            let status = status(service, instance.health);
            (instance.id.to_string(), status.to_owned())
        };
        reply::<Self>(&GetInstancesHealthStatusOutput {
            status: page.items.into_iter().map(item).collect(),
            next_token: page.next,
        })
    }
}

/// A page of all instances of a service.
fn page_of_all<'a>(
    paging: &Paging,
    view: &'a ScopeView,
    service: &Service,
) -> Page<&'a Arc<Instance>> {
    let start = paging.after().map_or(Bound::Unbounded, Bound::Excluded);
    let instances = view
        .instances(&service.id)
        .into_iter()
        .flat_map(|instances| instances.by_id.range::<_, str>((start, Bound::Unbounded)))
        .map(|(_, instance)| instance);
    paging.page(instances, |instance| &instance.id)
}

/// An instance in lists.
fn summary(call: &Call<'_>, instance: &Instance) -> InstanceShape {
    InstanceShape {
        id: instance.id.to_string(),
        creator_request_id: None,
        attributes: instance.attributes.clone().into(),
        created_by_account: call.scope.account.to_string(),
    }
}
