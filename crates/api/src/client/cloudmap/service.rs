//! Calls about services.

use super::super::{Client, Error, Pages};
use crate::{
    cloudmap::{
        self, CustomHealthCheck, DeleteService, DeleteServiceAttributes, DnsConfigShape, Filter,
        GetService, GetServiceAttributes, ListServices, ServiceShape, UpdateService,
        UpdateServiceAttributes,
    },
    random,
};
use std::collections::BTreeMap;
use tombolo_model::{
    Timestamp,
    apply::cloudmap::CreateService,
    cloudmap::{DnsConfig, HealthCheckConfig},
};

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `srv-` and 16 characters.
    pub id: String,
    /// The ARN.
    pub arn: String,
    /// The name within its namespace.
    pub name: String,
    /// The id of the namespace.
    pub namespace_id: String,
    /// The token of its creation; absent in lists.
    pub creator_request_id: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// The DNS records of its instances; absent for a service that is discovered by the API only.
    pub dns_config: Option<DnsConfig>,
    /// A health check that the server makes.
    pub health_check: Option<HealthCheckConfig>,
    /// Whether callers report the health of instances.
    pub custom_health_check: bool,
    /// The number of its instances.
    pub instance_count: u64,
    /// The time of its creation.
    pub created_at: Timestamp,
}

impl Service {
    /// A service from its JSON. In lists, whose items have no namespace, `namespace_id` is used.
    fn new(shape: ServiceShape, namespace_id: &str) -> Self {
        let dns = shape.dns_config;
        let dns_config = dns.dns_records.map(|dns_records| DnsConfig {
            routing_policy: dns.routing_policy,
            dns_records,
        });
        Self {
            id: shape.id,
            arn: shape.arn,
            name: shape.name,
            namespace_id: shape
                .namespace_id
                .unwrap_or_else(|| namespace_id.to_owned()),
            creator_request_id: shape.creator_request_id,
            description: shape.description,
            dns_config,
            health_check: shape.health_check_config,
            custom_health_check: shape.health_check_custom_config.is_some(),
            instance_count: shape.instance_count,
            created_at: shape.create_date,
        }
    }
}

impl Client {
    /// Creates a service.
    pub async fn create_service(&self, service: &CreateService) -> Result<Service, Error> {
        let new = service.clone();
        let create = cloudmap::CreateService {
            name: new.name,
            namespace_id: Some(new.namespace_id),
            creator_request_id: Some(new.creator_request_id.unwrap_or_else(random::uuid)),
            description: new.description,
            dns_config: new.dns_config.map(|config| DnsConfigShape {
                namespace_id: None,
                routing_policy: config.routing_policy,
                dns_records: Some(config.dns_records),
            }),
            health_check_config: new.health_check,
            health_check_custom_config: new.custom_health_check.then_some(CustomHealthCheck {
                failure_threshold: None,
            }),
            tags: new.tags,
            kind: new.http_only.then(|| "HTTP".to_owned()),
        };
        let answer = self.cloud_map(&create).await?;
        Ok(Service::new(answer.service, &service.namespace_id))
    }

    /// A service by id or ARN.
    pub async fn get_service(&self, id: &str) -> Result<Service, Error> {
        let answer = self.cloud_map(&GetService { id: id.to_owned() }).await?;
        Ok(Service::new(answer.service, ""))
    }

    /// The services of a namespace.
    pub async fn list_services(&self, namespace_id: &str) -> Result<Vec<Service>, Error> {
        let (mut all, mut pages) = (Vec::new(), Pages::default());
        while let Some(next_token) = pages.next() {
            let list = ListServices {
                filters: Some(vec![Filter::equals("NAMESPACE_ID", namespace_id)]),
                max_results: None,
                next_token,
            };
            let page = self.cloud_map(&list).await?;
            let services = page.services.into_iter();
            all.extend(services.map(|shape| Service::new(shape, namespace_id)));
            pages.advance(page.next_token)?;
        }
        Ok(all)
    }

    /// The service of a name in a namespace; `None` if it does not exist.
    pub async fn find_service(
        &self,
        namespace_id: &str,
        name: &str,
    ) -> Result<Option<Service>, Error> {
        let services = self.list_services(namespace_id).await?;
        Ok(services.into_iter().find(|service| service.name == name))
    }

    /// Updates a service; returns the id of the operation. DNS records and the health check are replaced:
    /// absent ones are removed.
    pub async fn update_service(&self, change: &UpdateService) -> Result<String, Error> {
        self.cloud_map_operation(change).await
    }

    /// The attributes of a service.
    pub async fn service_attributes(&self, id: &str) -> Result<BTreeMap<String, String>, Error> {
        let get = GetServiceAttributes {
            service_id: id.to_owned(),
        };
        Ok(self.cloud_map(&get).await?.service_attributes.attributes)
    }

    /// Adds attributes to a service, or overwrites their values.
    pub async fn update_service_attributes(
        &self,
        id: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let update = UpdateServiceAttributes {
            service_id: id.to_owned(),
            attributes: attributes.clone(),
        };
        self.cloud_map(&update).await.map(drop)
    }

    /// Removes attributes from a service.
    pub async fn delete_service_attributes(&self, id: &str, keys: &[String]) -> Result<(), Error> {
        let delete = DeleteServiceAttributes {
            service_id: id.to_owned(),
            keys: keys.to_vec(),
        };
        self.cloud_map(&delete).await.map(drop)
    }

    /// Deletes a service without instances.
    pub async fn delete_service(&self, id: &str) -> Result<(), Error> {
        let delete = DeleteService { id: id.to_owned() };
        self.cloud_map(&delete).await.map(drop)
    }
}
