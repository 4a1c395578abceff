//! Calls about instances.

use super::{Client, Error};
use crate::random;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tombolo_model::{apply::cloudmap::RegisterInstance, cloudmap::Health};

/// An instance as registered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Instance {
    /// 1 to 64 characters.
    pub id: String,
    /// All attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discover {
    /// The name of the namespace.
    pub namespace: String,
    /// The name of the service.
    pub service: String,
    /// Attributes that an instance must carry.
    pub query: BTreeMap<String, String>,
    /// Attributes that are preferred: ignored when no instance carries them.
    pub optional: BTreeMap<String, String>,
    /// `HEALTHY`, `UNHEALTHY`, `ALL` or `HEALTHY_OR_ELSE_ALL`; absent means `HEALTHY`.
    pub health: Option<String>,
    /// 1 to 1000; absent means 100.
    pub max_results: Option<u32>,
}

impl Discover {
    /// Looks for healthy instances of a service.
    pub fn new(namespace: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service: service.into(),
            ..Self::default()
        }
    }
}

/// An instance that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Its id.
    pub id: String,
    /// Its health; absent when its service has no health check.
    pub health: Option<Health>,
    /// All attributes.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DiscoverOutput {
    instances: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    instance_id: String,
    health_status: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetOutput {
    instance: Instance,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthOutput {
    status: BTreeMap<String, String>,
    next_token: Option<String>,
}

impl Client {
    /// Registers an instance or replaces the one of the same id; answers with the id of the operation.
    pub async fn register_instance(&self, instance: &RegisterInstance) -> Result<String, Error> {
        let token = (instance.creator_request_id.clone()).unwrap_or_else(random::uuid);
        let input = json!({
            "ServiceId": instance.service_id,
            "InstanceId": instance.instance_id,
            "Attributes": instance.attributes,
            "CreatorRequestId": token,
        });
        self.registry_operation("RegisterInstance", input).await
    }

    /// Removes an instance; answers with the id of the operation.
    pub async fn deregister_instance(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<String, Error> {
        let input = json!({ "ServiceId": service_id, "InstanceId": instance_id });
        self.registry_operation("DeregisterInstance", input).await
    }

    /// An instance.
    pub async fn get_instance(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<Instance, Error> {
        let input = json!({ "ServiceId": service_id, "InstanceId": instance_id });
        let answer: GetOutput = self.registry_call("GetInstance", input).await?;
        Ok(answer.instance)
    }

    /// The health of all instances of a service, by their ids: `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
    pub async fn instances_health(
        &self,
        service_id: &str,
    ) -> Result<BTreeMap<String, String>, Error> {
        self.health(json!({ "ServiceId": service_id })).await
    }

    /// The health of an instance, as [`Client::instances_health`] tells it; `None` when it is not there.
    pub async fn instance_health(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<Option<String>, Error> {
        let input = json!({ "ServiceId": service_id, "Instances": [instance_id] });
        match self.health(input).await {
            Ok(mut all) => Ok(all.remove(instance_id)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn health(&self, mut input: Value) -> Result<BTreeMap<String, String>, Error> {
        let mut all = BTreeMap::new();
        loop {
            let page: HealthOutput = self
                .registry_call("GetInstancesHealthStatus", input.clone())
                .await?;
            all.extend(page.status);
            match page.next_token {
                Some(token) => input["NextToken"] = token.into(),
                None => return Ok(all),
            }
        }
    }

    /// All instances of a service.
    pub async fn list_instances(&self, service_id: &str) -> Result<Vec<Instance>, Error> {
        let input = json!({ "ServiceId": service_id });
        self.registry_pages("ListInstances", input, "Instances")
            .await
    }

    /// Reports an instance's health; its service must have a custom health check.
    pub async fn set_health(
        &self,
        service_id: &str,
        instance_id: &str,
        health: Health,
    ) -> Result<(), Error> {
        let input = json!({ "ServiceId": service_id, "InstanceId": instance_id, "Status": health });
        let _: Value = self
            .registry_call("UpdateInstanceCustomHealthStatus", input)
            .await?;
        Ok(())
    }

    /// Finds instances, in random order.
    pub async fn discover(&self, query: &Discover) -> Result<Vec<Discovered>, Error> {
        let some = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| json!(map));
        let input = json!({
            "NamespaceName": query.namespace,
            "ServiceName": query.service,
            "QueryParameters": some(&query.query),
            "OptionalParameters": some(&query.optional),
            "HealthStatus": query.health,
            "MaxResults": query.max_results,
        });
        let found: DiscoverOutput = self.registry_call("DiscoverInstances", input).await?;
        let read = |item: Item| Discovered {
            id: item.instance_id,
            health: match item.health_status.as_deref() {
                Some("HEALTHY") => Some(Health::Healthy),
                Some("UNHEALTHY") => Some(Health::Unhealthy),
                _ => None,
            },
            attributes: item.attributes,
        };
        Ok(found.instances.into_iter().map(read).collect())
    }
}
