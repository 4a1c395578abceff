//! The health of instances, as told and as asked for.

use super::{Empty, errors, ids, invalid, paging, run};
use crate::{
    call::Call,
    error::ApiError,
    operation::{RpcOperation, reply},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use tombolo_model::{
    Scope,
    apply::cloudmap,
    cloudmap::{Health, Instance, Service},
};

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

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateInstanceCustomHealthStatus {
    pub(crate) service_id: String,
    pub(crate) instance_id: String,
    pub(crate) status: Health,
}

/// What an instance's health is called. A service without a health check knows nothing about it.
pub(super) fn status(service: &Service, health: Health) -> &'static str {
    match health {
        _ if !service.is_health_checked() => "UNKNOWN",
        Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
    }
}

impl RpcOperation for GetInstancesHealthStatus {
    type Output = GetInstancesHealthStatusOutput;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let token = self.next_token.as_deref();
        let paging = paging("instancesHealth", self.max_results, token)?;
        for id in self.instances.iter().flatten() {
            ids::check_instance_id(id)?;
        }
        if self.instances.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid("Instances: must not be empty"));
        }
        let view = call.view();
        let (scope, service) = ids::service(call, view.scope(&call.scope), &self.service_id)?;
        let page = match self.instances {
            None => {
                let start = paging.after().map_or(Bound::Unbounded, Bound::Excluded);
                let all = scope
                    .instances(&service.id)
                    .into_iter()
                    .flat_map(|instances| {
                        instances.by_id.range::<_, str>((start, Bound::Unbounded))
                    })
                    .map(|(_, instance)| instance);
                paging.page(all, |instance| &instance.id)
            }
            Some(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                let mut wanted: Vec<&Arc<Instance>> = Vec::with_capacity(ids.len());
                for id in &ids {
                    wanted.push(
                        scope
                            .instance(&service.id, id)
                            .ok_or_else(|| errors::instance_not_found(&service.name, id))?,
                    );
                }
                paging.page(wanted.into_iter(), |instance| &instance.id)
            }
        };
        let told = |instance: &Arc<Instance>| {
            let status = status(service, instance.health);
            (instance.id.to_string(), status.to_owned())
        };
        reply::<Self>(&GetInstancesHealthStatusOutput {
            status: page.items.into_iter().map(told).collect(),
            next_token: page.next,
        })
    }
}

/// Takes effect at once, where AWS waits half a minute: a report of health is worth most when it is new.
impl RpcOperation for UpdateInstanceCustomHealthStatus {
    type Output = Empty;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::Command::SetHealth {
            service_id: ids::service_id(call, &self.service_id)?.to_owned(),
            instance_id: self.instance_id,
            health: self.status,
        };
        run(call, command).await
    }
}
