//! Calls about services.

use super::{Client, Error, registry};
use crate::random;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tombolo_model::{
    Timestamp,
    apply::cloudmap::{CreateService, UpdateService},
    cloudmap::{DnsConfig, DnsRecord, HealthCheckConfig, RoutingPolicy},
};

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `srv-` and 16 characters.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The name within its namespace.
    pub name: String,
    /// The namespace.
    pub namespace_id: String,
    /// The token of its creation; lists do not tell it.
    pub creator_request_id: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// What it publishes in DNS; absent for a service that is found by the API alone.
    pub dns_config: Option<DnsConfig>,
    /// A health check that the server makes.
    pub health_check: Option<HealthCheckConfig>,
    /// Whether health is reported from outside.
    pub custom_health_check: bool,
    /// How many instances it has.
    pub instance_count: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shape {
    description: Option<String>,
    dns_config: Option<DnsShape>,
    health_check_config: Option<HealthCheckConfig>,
    health_check_custom_config: Option<Value>,
    #[serde(default)]
    instance_count: u64,
    #[serde(default)]
    create_date: f64,
    id: String,
    arn: String,
    name: String,
    namespace_id: Option<String>,
    creator_request_id: Option<String>,
}

/// Empty where a service publishes nothing.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DnsShape {
    routing_policy: Option<RoutingPolicy>,
    dns_records: Option<Vec<DnsRecord>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributesOutput {
    service_attributes: AttributesShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributesShape {
    /// Absent where there are none.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    service: Shape,
}

impl Shape {
    fn in_namespace(self, id: &str) -> Service {
        let dns_config = self.dns_config.and_then(|dns| {
            Some(DnsConfig {
                routing_policy: dns.routing_policy,
                dns_records: dns.dns_records?,
            })
        });
        Service {
            description: self.description,
            dns_config,
            health_check: self.health_check_config,
            custom_health_check: self.health_check_custom_config.is_some(),
            instance_count: self.instance_count,
            created_at: super::mesh::timestamp(self.create_date),
            id: self.id,
            arn: self.arn,
            name: self.name,
            namespace_id: self.namespace_id.unwrap_or_else(|| id.to_owned()),
            creator_request_id: self.creator_request_id,
        }
    }
}

impl Client {
    /// Makes a service.
    pub async fn create_service(&self, service: &CreateService) -> Result<Service, Error> {
        let token = (service.creator_request_id.clone()).unwrap_or_else(random::uuid);
        let custom = service.custom_health_check.then(|| json!({}));
        let kind = service.http_only.then_some("HTTP");
        let input = json!({
            "Name": service.name,
            "NamespaceId": service.namespace_id,
            "Description": service.description,
            "DnsConfig": service.dns_config,
            "HealthCheckConfig": service.health_check,
            "HealthCheckCustomConfig": custom,
            "Type": kind,
            "CreatorRequestId": token,
            "Tags": registry::tags(&service.tags),
        });
        let answer: Output = self.registry_call("CreateService", input).await?;
        Ok(answer.service.in_namespace(&service.namespace_id))
    }

    /// A service by id or ARN.
    pub async fn get_service(&self, id: &str) -> Result<Service, Error> {
        let answer: Output = self
            .registry_call("GetService", json!({ "Id": id }))
            .await?;
        Ok(answer.service.in_namespace(""))
    }

    /// The services of a namespace.
    pub async fn list_services(&self, namespace_id: &str) -> Result<Vec<Service>, Error> {
        let filter = json!({ "Name": "NAMESPACE_ID", "Values": [namespace_id], "Condition": "EQ" });
        let shapes: Vec<Shape> = self
            .registry_pages("ListServices", json!({ "Filters": [filter] }), "Services")
            .await?;
        let services = shapes.into_iter();
        Ok(services
            .map(|shape| shape.in_namespace(namespace_id))
            .collect())
    }

    /// The service of a name in a namespace, when it exists.
    pub async fn find_service(
        &self,
        namespace_id: &str,
        name: &str,
    ) -> Result<Option<Service>, Error> {
        let services = self.list_services(namespace_id).await?;
        Ok(services.into_iter().find(|service| service.name == name))
    }

    /// Changes a service; answers with the id of the operation. Records and the health check are replaced as
    /// a whole: what is not given goes.
    pub async fn update_service(&self, change: &UpdateService) -> Result<String, Error> {
        let mut service = Map::new();
        if let Some(description) = &change.description {
            service.insert("Description".into(), description.as_str().into());
        }
        if !change.dns_records.is_empty() {
            let records = json!({ "DnsRecords": change.dns_records });
            service.insert("DnsConfig".into(), records);
        }
        if let Some(check) = &change.health_check {
            service.insert("HealthCheckConfig".into(), json!(check));
        }
        let input = json!({ "Id": change.id, "Service": service });
        self.registry_operation("UpdateService", input).await
    }

    /// The attributes of a service itself.
    pub async fn service_attributes(&self, id: &str) -> Result<BTreeMap<String, String>, Error> {
        let input = json!({ "ServiceId": id });
        let answer: AttributesOutput = self.registry_call("GetServiceAttributes", input).await?;
        Ok(answer.service_attributes.attributes)
    }

    /// Gives a service attributes, or other values of them.
    pub async fn update_service_attributes(
        &self,
        id: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let input = json!({ "ServiceId": id, "Attributes": attributes });
        let _: Value = self.registry_call("UpdateServiceAttributes", input).await?;
        Ok(())
    }

    /// Takes attributes from a service.
    pub async fn delete_service_attributes(&self, id: &str, keys: &[String]) -> Result<(), Error> {
        let input = json!({ "ServiceId": id, "Attributes": keys });
        let _: Value = self.registry_call("DeleteServiceAttributes", input).await?;
        Ok(())
    }

    /// Removes a service that has no instances.
    pub async fn delete_service(&self, id: &str) -> Result<(), Error> {
        let _: Value = self
            .registry_call("DeleteService", json!({ "Id": id }))
            .await?;
        Ok(())
    }
}
