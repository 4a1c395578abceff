//! Namespaces.

use super::{Condition, Filter, OperationId, TagShape, filter, ids, paging, run_operation, tag};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, reply},
    wire::epoch,
};
use serde::{Deserialize, Serialize};
use tombolo_model::{
    Scope, ScopeView, Timestamp,
    apply::cloudmap,
    arn,
    cloudmap::{Namespace, NamespaceType},
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateHttpNamespace {
    pub(crate) name: String,
    pub(crate) creator_request_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) tags: Option<Vec<TagShape>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreatePrivateDnsNamespace {
    pub(crate) name: String,
    pub(crate) vpc: String,
    pub(crate) creator_request_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) properties: Option<Properties>,
    pub(crate) tags: Option<Vec<TagShape>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreatePublicDnsNamespace {
    pub(crate) name: String,
    pub(crate) creator_request_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) properties: Option<Properties>,
    pub(crate) tags: Option<Vec<TagShape>>,
}

/// The properties of a new or changed namespace in DNS.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Properties {
    dns_properties: DnsProperties,
}

#[derive(Debug, Serialize, Deserialize)]
struct DnsProperties {
    #[serde(rename = "SOA")]
    soa: Soa,
}

#[derive(Debug, Serialize, Deserialize)]
struct Soa {
    #[serde(rename = "TTL")]
    ttl: u32,
}

impl Properties {
    /// Those with a TTL of the SOA record, in seconds.
    pub(crate) fn of_soa_ttl(ttl: u32) -> Self {
        Self {
            dns_properties: DnsProperties { soa: Soa { ttl } },
        }
    }

    fn soa_ttl(&self) -> u32 {
        self.dns_properties.soa.ttl
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateHttpNamespace {
    /// An id or an ARN.
    pub(crate) id: String,
    pub(crate) updater_request_id: Option<String>,
    pub(crate) namespace: HttpNamespaceUpdate,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HttpNamespaceUpdate {
    pub(crate) description: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UpdatePrivateDnsNamespace(pub(crate) DnsUpdate);

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UpdatePublicDnsNamespace(pub(crate) DnsUpdate);

/// The input of both updates of namespaces in DNS.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsUpdate {
    /// An id or an ARN.
    pub(crate) id: String,
    pub(crate) updater_request_id: Option<String>,
    pub(crate) namespace: DnsNamespaceUpdate,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsNamespaceUpdate {
    pub(crate) description: Option<String>,
    pub(crate) properties: Option<Properties>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteNamespace {
    /// An id or an ARN.
    pub(crate) id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetNamespace {
    /// An id or an ARN.
    pub(crate) id: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListNamespaces {
    pub(crate) filters: Option<Vec<Filter>>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetNamespaceOutput {
    pub(crate) namespace: NamespaceShape,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListNamespacesOutput {
    pub(crate) namespaces: Vec<NamespaceShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// `Namespace` and `NamespaceSummary`; the latter has no token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NamespaceShape {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) resource_owner: String,
    pub(crate) name: String,
    #[serde(rename = "Type")]
    pub(crate) kind: NamespaceType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) service_count: u64,
    pub(crate) properties: PropertiesShape,
    #[serde(with = "epoch")]
    pub(crate) create_date: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creator_request_id: Option<String>,
}

/// Both blocks are always there, whatever the type.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PropertiesShape {
    pub(crate) dns_properties: DnsPropertiesShape,
    pub(crate) http_properties: HttpPropertiesShape,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsPropertiesShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosted_zone_id: Option<String>,
    #[serde(rename = "SOA")]
    pub(crate) soa: SoaShape,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SoaShape {
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HttpPropertiesShape {
    pub(crate) http_name: String,
}

impl RpcOperation for CreateHttpNamespace {
    type Output = OperationId;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::CreateNamespace {
            name: self.name,
            kind: NamespaceType::HTTP,
            vpc: None,
            description: self.description,
            soa_ttl: None,
            creator_request_id: self.creator_request_id,
            tags: tag::of_input(self.tags),
        };
        run_operation(call, cloudmap::Command::CreateNamespace(command)).await
    }
}

impl RpcOperation for CreatePrivateDnsNamespace {
    type Output = OperationId;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::CreateNamespace {
            name: self.name,
            kind: NamespaceType::DNS_PRIVATE,
            vpc: Some(self.vpc),
            description: self.description,
            soa_ttl: self.properties.as_ref().map(Properties::soa_ttl),
            creator_request_id: self.creator_request_id,
            tags: tag::of_input(self.tags),
        };
        run_operation(call, cloudmap::Command::CreateNamespace(command)).await
    }
}

impl RpcOperation for CreatePublicDnsNamespace {
    type Output = OperationId;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::CreateNamespace {
            name: self.name,
            kind: NamespaceType::DNS_PUBLIC,
            vpc: None,
            description: self.description,
            soa_ttl: self.properties.as_ref().map(Properties::soa_ttl),
            creator_request_id: self.creator_request_id,
            tags: tag::of_input(self.tags),
        };
        run_operation(call, cloudmap::Command::CreateNamespace(command)).await
    }
}

impl RpcOperation for UpdateHttpNamespace {
    type Output = OperationId;

    fn resource(&self, scope: &Scope) -> String {
        ids::namespace_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let update = DnsUpdate {
            id: self.id,
            updater_request_id: self.updater_request_id,
            namespace: DnsNamespaceUpdate {
                description: Some(self.namespace.description),
                properties: None,
            },
        };
        update.execute(call, NamespaceType::HTTP).await
    }
}

impl RpcOperation for UpdatePrivateDnsNamespace {
    type Output = OperationId;

    fn resource(&self, scope: &Scope) -> String {
        ids::namespace_arn(scope, &self.0.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        self.0.execute(call, NamespaceType::DNS_PRIVATE).await
    }
}

impl RpcOperation for UpdatePublicDnsNamespace {
    type Output = OperationId;

    fn resource(&self, scope: &Scope) -> String {
        ids::namespace_arn(scope, &self.0.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        self.0.execute(call, NamespaceType::DNS_PUBLIC).await
    }
}

impl DnsUpdate {
    async fn execute(self, call: &Call<'_>, kind: NamespaceType) -> Result<Vec<u8>, ApiError> {
        let command = cloudmap::UpdateNamespace {
            id: ids::namespace_id(call, &self.id)?.to_owned(),
            kind,
            description: self.namespace.description,
            soa_ttl: self.namespace.properties.as_ref().map(Properties::soa_ttl),
            updater_request_id: self.updater_request_id,
        };
        run_operation(call, cloudmap::Command::UpdateNamespace(command)).await
    }
}

impl RpcOperation for DeleteNamespace {
    type Output = OperationId;

    fn resource(&self, scope: &Scope) -> String {
        ids::namespace_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let id = ids::namespace_id(call, &self.id)?.to_owned();
        run_operation(call, cloudmap::Command::DeleteNamespace { id }).await
    }
}

impl RpcOperation for GetNamespace {
    type Output = GetNamespaceOutput;

    fn resource(&self, scope: &Scope) -> String {
        ids::namespace_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let view = call.view();
        let scope = view.scope(&call.scope);
        let namespace = ids::namespace(call, scope, &self.id)?;
        let mut namespace_shape = summary(call, scope, namespace);
        namespace_shape.creator_request_id = namespace.creator_request_id.clone();
        reply::<Self>(&GetNamespaceOutput {
            namespace: namespace_shape,
        })
    }
}

impl RpcOperation for ListNamespaces {
    type Output = ListNamespacesOutput;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let paging = paging("namespaces", self.max_results, self.next_token.as_deref())?;
        let mut filters = Vec::new();
        let mut is_own = true;
        for filter in filter::checked(self.filters.as_deref())? {
            if filter.name == "RESOURCE_OWNER" {
                is_own &= filter.includes_own(call)?;
                continue;
            }
            let member: fn(&Namespace) -> &str = match filter.name.as_str() {
                "TYPE" => |namespace| namespace.kind.as_str(),
                "NAME" => |namespace| &namespace.name,
                "HTTP_NAME" => |namespace| &namespace.http_name,
                _ => return Err(filter.unknown()),
            };
            let condition = filter.condition(&[Condition::Eq, Condition::BeginsWith])?;
            filters.push((filter, condition, member));
        }
        let view = call.view();
        let scope = view.scope(&call.scope).filter(|_| is_own);
        let namespaces = scope.into_iter().flat_map(ScopeView::namespaces);
        let matching = namespaces.filter(|namespace| {
            let mut filters = filters.iter();
            filters.all(|(filter, condition, member)| filter.matches(*condition, member(namespace)))
        });
        let page = paging.page(matching, |namespace| &namespace.id);
        let namespaces = page.items.iter();
        reply::<Self>(&ListNamespacesOutput {
            namespaces: namespaces
                .map(|namespace| summary(call, scope, namespace))
                .collect(),
            next_token: page.next,
        })
    }
}

fn summary(call: &Call<'_>, scope: Option<&ScopeView>, namespace: &Namespace) -> NamespaceShape {
    let services = scope.map_or(0, |scope| scope.services_of(&namespace.id).count());
    NamespaceShape {
        id: namespace.id.to_string(),
        arn: arn::of_namespace(&call.scope, &namespace.id),
        resource_owner: call.scope.account.to_string(),
        name: namespace.name.to_string(),
        kind: namespace.kind,
        description: namespace.description.clone(),
        service_count: services as u64,
        properties: PropertiesShape {
            dns_properties: DnsPropertiesShape {
                hosted_zone_id: namespace.hosted_zone_id.clone(),
                soa: SoaShape {
                    ttl: namespace.soa_ttl,
                },
            },
            http_properties: HttpPropertiesShape {
                http_name: namespace.http_name.to_string(),
            },
        },
        create_date: namespace.created_at,
        creator_request_id: None,
    }
}
