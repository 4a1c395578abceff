//! Calls about namespaces.

use super::{Client, Error, registry};
use crate::random;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tombolo_model::{
    Timestamp,
    apply::cloudmap::{CreateNamespace, UpdateNamespace},
    cloudmap::NamespaceType,
};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `ns-` and 16 characters.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// The name as given.
    pub name: String,
    /// The name that discovery uses.
    pub http_name: String,
    /// The type.
    pub kind: NamespaceType,
    /// The id of a DNS namespace's zone.
    pub hosted_zone_id: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Seconds for which a negative answer may be cached, when given.
    pub soa_ttl: Option<u32>,
    /// How many services it has.
    pub service_count: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shape {
    id: String,
    arn: String,
    name: String,
    #[serde(rename = "Type")]
    kind: NamespaceType,
    properties: Properties,
    description: Option<String>,
    #[serde(default)]
    service_count: u64,
    #[serde(default)]
    create_date: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    dns_properties: DnsProperties,
    http_properties: HttpProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DnsProperties {
    hosted_zone_id: Option<String>,
    #[serde(rename = "SOA")]
    soa: Option<Soa>,
}

#[derive(Deserialize)]
struct Soa {
    #[serde(rename = "TTL")]
    ttl: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HttpProperties {
    http_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetOutput {
    namespace: Shape,
}

impl From<Shape> for Namespace {
    fn from(shape: Shape) -> Self {
        let soa = shape.properties.dns_properties.soa;
        Self {
            description: shape.description,
            soa_ttl: soa.and_then(|soa| soa.ttl),
            service_count: shape.service_count,
            created_at: super::mesh::timestamp(shape.create_date),
            id: shape.id,
            arn: shape.arn,
            name: shape.name,
            http_name: shape.properties.http_properties.http_name,
            kind: shape.kind,
            hosted_zone_id: shape.properties.dns_properties.hosted_zone_id,
        }
    }
}

impl Client {
    /// Makes a namespace; answers with the id of the operation.
    pub async fn create_namespace(&self, namespace: &CreateNamespace) -> Result<String, Error> {
        let operation = match namespace.kind {
            NamespaceType::HTTP => "CreateHttpNamespace",
            NamespaceType::DNS_PRIVATE => "CreatePrivateDnsNamespace",
            NamespaceType::DNS_PUBLIC => "CreatePublicDnsNamespace",
        };
        let token = (namespace.creator_request_id.clone()).unwrap_or_else(random::uuid);
        let input = json!({
            "Name": namespace.name,
            "Vpc": namespace.vpc,
            "Description": namespace.description,
            "Properties": namespace.soa_ttl.map_or(Value::Null, soa),
            "CreatorRequestId": token,
            "Tags": registry::tags(&namespace.tags),
        });
        self.registry_operation(operation, input).await
    }

    /// Makes a namespace whose names are found from the networks of a VPC label; answers with the id of
    /// the operation.
    pub async fn create_private_dns_namespace(
        &self,
        name: &str,
        vpc: &str,
    ) -> Result<String, Error> {
        self.create_namespace(&CreateNamespace {
            name: name.to_owned(),
            kind: NamespaceType::DNS_PRIVATE,
            vpc: Some(vpc.to_owned()),
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        })
        .await
    }

    /// A namespace by id or ARN.
    pub async fn get_namespace(&self, id: &str) -> Result<Namespace, Error> {
        let answer: GetOutput = self
            .registry_call("GetNamespace", json!({ "Id": id }))
            .await?;
        Ok(answer.namespace.into())
    }

    /// All namespaces.
    pub async fn list_namespaces(&self) -> Result<Vec<Namespace>, Error> {
        self.namespaces(json!({})).await
    }

    /// The namespace of a name, when it exists.
    pub async fn find_namespace(&self, name: &str) -> Result<Option<Namespace>, Error> {
        let filter = json!({ "Name": "NAME", "Values": [name], "Condition": "EQ" });
        let found = self.namespaces(json!({ "Filters": [filter] })).await?;
        Ok(found.into_iter().next())
    }

    /// Changes a namespace; answers with the id of the operation.
    pub async fn update_namespace(&self, change: &UpdateNamespace) -> Result<String, Error> {
        let operation = match change.kind {
            NamespaceType::HTTP => "UpdateHttpNamespace",
            NamespaceType::DNS_PRIVATE => "UpdatePrivateDnsNamespace",
            NamespaceType::DNS_PUBLIC => "UpdatePublicDnsNamespace",
        };
        let token = (change.updater_request_id.clone()).unwrap_or_else(random::uuid);
        let mut namespace = Map::new();
        if let Some(description) = &change.description {
            namespace.insert("Description".into(), description.as_str().into());
        }
        if let Some(ttl) = change.soa_ttl {
            namespace.insert("Properties".into(), soa(ttl));
        }
        let input = json!({
            "Id": change.id,
            "UpdaterRequestId": token,
            "Namespace": namespace,
        });
        self.registry_operation(operation, input).await
    }

    /// Removes a namespace that has no services; answers with the id of the operation.
    pub async fn delete_namespace(&self, id: &str) -> Result<String, Error> {
        self.registry_operation("DeleteNamespace", json!({ "Id": id }))
            .await
    }

    async fn namespaces(&self, input: Value) -> Result<Vec<Namespace>, Error> {
        let shapes: Vec<Shape> = self
            .registry_pages("ListNamespaces", input, "Namespaces")
            .await?;
        Ok(shapes.into_iter().map(Namespace::from).collect())
    }
}

fn soa(ttl: u32) -> Value {
    json!({ "DnsProperties": { "SOA": { "TTL": ttl } } })
}
