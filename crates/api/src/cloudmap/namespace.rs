//! Reads of namespaces.

use super::{Condition, Filter, filter, lookup, paging};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, reply},
    wire::epoch,
};
use serde::{Deserialize, Serialize};
use tombolo_model::{
    Scope, ScopeView, Timestamp, arn,
    cloudmap::{Namespace, NamespaceType},
};

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

/// `Namespace` and `NamespaceSummary`; the latter has no `CreatorRequestId`.
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

/// The properties of a namespace. Both members are present for every type.
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

impl RpcOperation for GetNamespace {
    type Output = GetNamespaceOutput;

    fn resource(&self, scope: &Scope) -> String {
        lookup::namespace_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let namespace = lookup::namespace(call, view, &self.id)?;
        reply::<Self>(&GetNamespaceOutput {
            namespace: NamespaceShape {
                creator_request_id: namespace.creator_request_id.clone(),
                ..summary(call, view, namespace)
            },
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
        let view = view.scope_or_empty(&call.scope);
        let namespaces = view.namespaces().filter(|_| is_own);
        let matching = namespaces.filter(|namespace| {
            let mut filters = filters.iter();
            filters.all(|(filter, condition, member)| filter.matches(*condition, member(namespace)))
        });
        let page = paging.page(matching, |namespace| &namespace.id);
        let namespaces = page.items.iter();
        reply::<Self>(&ListNamespacesOutput {
            namespaces: namespaces
                .map(|namespace| summary(call, view, namespace))
                .collect(),
            next_token: page.next,
        })
    }
}

/// A namespace in lists.
fn summary(call: &Call<'_>, view: &ScopeView, namespace: &Namespace) -> NamespaceShape {
    NamespaceShape {
        id: namespace.id.to_string(),
        arn: arn::of_namespace(&call.scope, &namespace.id),
        resource_owner: call.scope.account.to_string(),
        name: namespace.name.to_string(),
        kind: namespace.kind,
        description: namespace.description.clone(),
        service_count: view.services_of(&namespace.id).count() as u64,
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
