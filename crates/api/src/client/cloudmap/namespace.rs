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
    /// Seconds for which a negative answer may be cached, when given.
    pub soa_ttl: Option<u32>,
    /// How many services it has.
    pub service_count: u64,
    /// When it was created.
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
    /// Makes a namespace; answers with the id of the operation.
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

    /// The namespace of a name, when it exists.
    pub async fn find_namespace(&self, name: &str) -> Result<Option<Namespace>, Error> {
        let filter = Filter::equals("NAME", name);
        let found = self.namespaces(Some(&filter)).await?;
        Ok(found.into_iter().next())
    }

    /// Changes a namespace; answers with the id of the operation.
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

    /// Removes a namespace that has no services; answers with the id of the operation.
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
            pages.turn(page.next_token)?;
        }
        Ok(all)
    }
}
