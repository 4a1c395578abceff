//! Calls about instances.

use super::super::{Client, Error, Pages};
use crate::{
    cloudmap::{
        self, DeregisterInstance, DiscoverInstances, GetInstance, GetInstancesHealthStatus,
        HealthFilter, InstanceShape, ListInstances, RegisterInstance,
        UpdateInstanceCustomHealthStatus,
    },
    random,
};
use std::collections::BTreeMap;
use tombolo_model::cloudmap::Health;

/// An instance as registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// 1 to 64 characters.
    pub id: String,
    /// All attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A query for the instances of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discover {
    /// The name of the namespace.
    pub namespace: String,
    /// The name of the service.
    pub service: String,
    /// Attributes that an instance must have.
    pub query: BTreeMap<String, String>,
    /// Preferred attributes, which are ignored if no instance has them.
    pub optional: BTreeMap<String, String>,
    /// The health of the instances to return, if the service has a health check; absent means the healthy ones.
    pub health: Option<HealthFilter>,
    /// 1 to 1000; absent means 100.
    pub max_results: Option<u32>,
}

impl Discover {
    /// A query for the healthy instances of a service.
    pub fn new(namespace: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service: service.into(),
            ..Self::default()
        }
    }
}

/// A discovered instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// 1 to 64 characters.
    pub id: String,
    /// The health; absent if the service has no health check.
    pub health: Option<Health>,
    /// All attributes.
    pub attributes: BTreeMap<String, String>,
}

impl From<InstanceShape> for Instance {
    fn from(shape: InstanceShape) -> Self {
        Self {
            id: shape.id,
            attributes: shape.attributes,
        }
    }
}

impl Client {
    /// Registers an instance or replaces the one of the same id; returns the id of the operation.
    pub async fn register_instance(&self, instance: &RegisterInstance) -> Result<String, Error> {
        let mut register = instance.clone();
        register.creator_request_id.get_or_insert_with(random::uuid);
        self.cloud_map_operation(&register).await
    }

    /// Removes an instance; returns the id of the operation.
    pub async fn deregister_instance(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<String, Error> {
        let deregister = DeregisterInstance {
            service_id: service_id.to_owned(),
            instance_id: instance_id.to_owned(),
        };
        self.cloud_map_operation(&deregister).await
    }

    /// An instance.
    pub async fn get_instance(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<Instance, Error> {
        let get = GetInstance {
            service_id: service_id.to_owned(),
            instance_id: instance_id.to_owned(),
        };
        Ok(self.cloud_map(&get).await?.instance.into())
    }

    /// The health of all instances of a service, by their ids: `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
    pub async fn instances_health(
        &self,
        service_id: &str,
    ) -> Result<BTreeMap<String, String>, Error> {
        self.health(service_id, None).await
    }

    /// The health of an instance, as in [`Client::instances_health`]; `None` if it does not exist.
    pub async fn instance_health(
        &self,
        service_id: &str,
        instance_id: &str,
    ) -> Result<Option<String>, Error> {
        match self.health(service_id, Some(instance_id)).await {
            Ok(mut all) => Ok(all.remove(instance_id)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn health(
        &self,
        service_id: &str,
        instance_id: Option<&str>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let (mut all, mut pages) = (BTreeMap::new(), Pages::default());
        while let Some(next_token) = pages.next() {
            let get = GetInstancesHealthStatus {
                service_id: service_id.to_owned(),
                instances: instance_id.map(|id| vec![id.to_owned()]),
                max_results: None,
                next_token,
            };
            let page = self.cloud_map(&get).await?;
            all.extend(page.status);
            pages.advance(page.next_token)?;
        }
        Ok(all)
    }

    /// All instances of a service.
    pub async fn list_instances(&self, service_id: &str) -> Result<Vec<Instance>, Error> {
        let (mut all, mut pages) = (Vec::new(), Pages::default());
        while let Some(next_token) = pages.next() {
            let list = ListInstances {
                service_id: service_id.to_owned(),
                max_results: None,
                next_token,
            };
            let page = self.cloud_map(&list).await?;
            all.extend(page.instances.into_iter().map(Instance::from));
            pages.advance(page.next_token)?;
        }
        Ok(all)
    }

    /// Reports an instance's health; its service must have a custom health check.
    pub async fn set_health(
        &self,
        service_id: &str,
        instance_id: &str,
        health: Health,
    ) -> Result<(), Error> {
        let update = UpdateInstanceCustomHealthStatus {
            service_id: service_id.to_owned(),
            instance_id: instance_id.to_owned(),
            status: health,
        };
        self.cloud_map(&update).await.map(drop)
    }

    /// Discovers instances, in random order.
    pub async fn discover(&self, query: &Discover) -> Result<Vec<Discovered>, Error> {
        let some = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
        let discover = DiscoverInstances {
            namespace_name: query.namespace.clone(),
            service_name: query.service.clone(),
            max_results: query.max_results.map(i64::from),
            query_parameters: some(&query.query),
            optional_parameters: some(&query.optional),
            health_status: query.health,
            owner_account: None,
        };
        let read = |shape: cloudmap::DiscoveredShape| Discovered {
            id: shape.instance_id,
            health: match shape.health_status.as_str() {
                "HEALTHY" => Some(Health::Healthy),
                "UNHEALTHY" => Some(Health::Unhealthy),
                _ => None,
            },
            attributes: shape.attributes,
        };
        let found = self.cloud_map(&discover).await?;
        Ok(found.instances.into_iter().map(read).collect())
    }
}
