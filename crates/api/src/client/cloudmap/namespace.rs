//! Calls about namespaces.

use super::super::{Client, Error, Pages};
use crate::{
    cloudmap::{
        CreateHttpNamespace, CreatePrivateDnsNamespace, CreatePublicDnsNamespace, DeleteNamespace,
        Filter, GetNamespace, ListNamespaces, NamespaceShape, UpdateHttpNamespace,
        UpdatePrivateDnsNamespace, UpdatePublicDnsNamespace,
    },
    random,
};
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
    /// The ARN.
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
    /// The TTL of negative answers in seconds, if configured.
    pub soa_ttl: Option<u32>,
    /// The number of its services.
    pub service_count: u64,
    /// The time of its creation.
    pub created_at: Timestamp,
}

impl From<NamespaceShape> for Namespace {
    fn from(shape: NamespaceShape) -> Self {
        let dns = shape.properties.dns_properties;
        Self {
            id: shape.id,
            arn: shape.arn,
            name: shape.name,
            http_name: shape.properties.http_properties.http_name,
            kind: shape.kind,
            hosted_zone_id: dns.hosted_zone_id,
            description: shape.description,
            soa_ttl: dns.soa.ttl,
            service_count: shape.service_count,
            created_at: shape.create_date,
        }
    }
}

impl Client {
    /// Creates a namespace; returns the id of the operation.
    pub async fn create_namespace(&self, namespace: &CreateNamespace) -> Result<String, Error> {
        let mut create = namespace.clone();
        create.creator_request_id.get_or_insert_with(random::uuid);
        match namespace.kind {
            NamespaceType::HTTP => self.cloud_map_operation(&CreateHttpNamespace(create)).await,
            NamespaceType::DNS_PRIVATE => {
                let create = CreatePrivateDnsNamespace(create);
                self.cloud_map_operation(&create).await
            }
            NamespaceType::DNS_PUBLIC => {
                let create = CreatePublicDnsNamespace(create);
                self.cloud_map_operation(&create).await
            }
        }
    }

    /// Creates a private DNS namespace, whose names resolve in the networks of a VPC; returns the id of the operation.
    pub async fn create_private_dns_namespace(
        &self,
        name: &str,
        vpc: &str,
    ) -> Result<String, Error> {
        self.create_namespace(&CreateNamespace {
            name: name.to_owned(),
            kind: NamespaceType::DNS_PRIVATE,
            vpc: Some(vpc.to_owned()),
            ..CreateNamespace::default()
        })
        .await
    }

    /// A namespace by id or ARN.
    pub async fn get_namespace(&self, id: &str) -> Result<Namespace, Error> {
        let answer = self.cloud_map(&GetNamespace { id: id.to_owned() }).await?;
        Ok(answer.namespace.into())
    }

    /// All namespaces.
    pub async fn list_namespaces(&self) -> Result<Vec<Namespace>, Error> {
        self.namespaces(None).await
    }

    /// The namespace of a name; `None` if it does not exist.
    pub async fn find_namespace(&self, name: &str) -> Result<Option<Namespace>, Error> {
        let filter = Filter::equals("NAME", name);
        let found = self.namespaces(Some(&filter)).await?;
        Ok(found.into_iter().next())
    }

    /// Updates a namespace; returns the id of the operation.
    pub async fn update_namespace(&self, change: &UpdateNamespace) -> Result<String, Error> {
        let mut update = change.clone();
        update.updater_request_id.get_or_insert_with(random::uuid);
        match change.kind {
            NamespaceType::HTTP => self.cloud_map_operation(&UpdateHttpNamespace(update)).await,
            NamespaceType::DNS_PRIVATE => {
                let update = UpdatePrivateDnsNamespace(update);
                self.cloud_map_operation(&update).await
            }
            NamespaceType::DNS_PUBLIC => {
                let update = UpdatePublicDnsNamespace(update);
                self.cloud_map_operation(&update).await
            }
        }
    }

    /// Deletes a namespace without services; returns the id of the operation.
    pub async fn delete_namespace(&self, id: &str) -> Result<String, Error> {
        self.cloud_map_operation(&DeleteNamespace { id: id.to_owned() })
            .await
    }

    async fn namespaces(&self, filter: Option<&Filter>) -> Result<Vec<Namespace>, Error> {
        let (mut all, mut pages) = (Vec::new(), Pages::default());
        while let Some(next_token) = pages.next() {
            let list = ListNamespaces {
                filters: filter.map(|filter| vec![filter.clone()]),
                max_results: None,
                next_token,
            };
            let page = self.cloud_map(&list).await?;
            all.extend(page.namespaces.into_iter().map(Namespace::from));
            pages.advance(page.next_token)?;
        }
        Ok(all)
    }
}
