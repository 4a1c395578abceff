//! Calls about services.

use super::{Client, Error, registry};
use crate::random;
use serde::Deserialize;
use serde_json::{Value, json};
use tombolo_model::apply::registry::CreateService;

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
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shape {
    id: String,
    arn: String,
    name: String,
    namespace_id: Option<String>,
    creator_request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    service: Shape,
}

impl Shape {
    fn in_namespace(self, id: &str) -> Service {
        Service {
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

    /// Removes a service that has no instances.
    pub async fn delete_service(&self, id: &str) -> Result<(), Error> {
        let _: Value = self
            .registry_call("DeleteService", json!({ "Id": id }))
            .await?;
        Ok(())
    }
}
