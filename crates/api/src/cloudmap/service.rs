//! Creation and reads of services.

use super::{Condition, Filter, errors, filter, invalid, lookup, paging};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, reply},
    wire::epoch,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tombolo_model::{
    Command, Reply, Scope, ScopeView, Timestamp,
    apply::cloudmap,
    appmesh::Tag,
    arn,
    cloudmap::{DnsConfig, DnsRecord, HealthCheckConfig, RoutingPolicy, Service, tag_list},
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateService {
    pub(crate) name: String,
    /// An id or an ARN.
    pub(crate) namespace_id: Option<String>,
    pub(crate) creator_request_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) dns_config: Option<DnsConfigShape>,
    pub(crate) health_check_config: Option<HealthCheckConfig>,
    pub(crate) health_check_custom_config: Option<CustomHealthCheck>,
    #[serde(default, with = "tag_list::optional")]
    pub(crate) tags: Vec<Tag>,
    #[serde(rename = "Type")]
    pub(crate) kind: Option<String>,
}

/// `HealthCheckCustomConfig`. Its threshold is deprecated: it is checked in inputs and always 1 in outputs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CustomHealthCheck {
    pub(crate) failure_threshold: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetService {
    /// An id or an ARN.
    pub(crate) id: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListServices {
    pub(crate) filters: Option<Vec<Filter>>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

/// The output of [`CreateService`] and [`GetService`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceOutput {
    pub(crate) service: ServiceShape,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListServicesOutput {
    pub(crate) services: Vec<ServiceShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// `Service` and `ServiceSummary`; the latter has no `NamespaceId` and no `CreatorRequestId`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceShape {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) resource_owner: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) instance_count: u64,
    pub(crate) dns_config: DnsConfigShape,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health_check_config: Option<HealthCheckConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health_check_custom_config: Option<CustomHealthCheck>,
    #[serde(with = "epoch")]
    pub(crate) create_date: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creator_request_id: Option<String>,
    pub(crate) created_by_account: String,
}

/// `DnsConfig` in inputs and outputs. Older clients use its `NamespaceId`. In outputs it is empty for a service without
/// DNS.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsConfigShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) routing_policy: Option<RoutingPolicy>,
    /// Required in inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns_records: Option<Vec<DnsRecord>>,
}

impl RpcOperation for CreateService {
    type Output = ServiceOutput;

    fn resource(&self, scope: &Scope) -> String {
        let namespace = self.namespace();
        namespace.map_or_else(|| ANY.to_owned(), |text| lookup::namespace_arn(scope, text))
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        check_deprecated_namespace_id(self.dns_config.as_ref())?;
        let namespace = self.namespace();
        let namespace = namespace.ok_or_else(|| invalid("NamespaceId: must be given"))?;
        let namespace_id = namespace.to_owned();
        if let Some(kind) = self.kind.as_deref().filter(|kind| *kind != "HTTP") {
            return Err(invalid(format!("Type: {kind:?} is not HTTP")));
        }
        let custom = self.health_check_custom_config.as_ref();
        let threshold = custom.and_then(|custom| custom.failure_threshold);
        if threshold.is_some_and(|n| !(1..=10).contains(&n)) {
            let message = "HealthCheckCustomConfig.FailureThreshold: must be between 1 and 10";
            return Err(invalid(message));
        }
        let dns_config = match self.dns_config {
            Some(config) => Some(DnsConfig {
                routing_policy: config.routing_policy,
                dns_records: (config.dns_records)
                    .ok_or_else(|| invalid("DnsConfig.DnsRecords: must be given"))?,
            }),
            None => None,
        };
        let command = cloudmap::CreateService {
            name: self.name,
            namespace_id,
            description: self.description,
            dns_config,
            health_check: self.health_check_config,
            custom_health_check: self.health_check_custom_config.is_some(),
            http_only: self.kind.is_some(),
            creator_request_id: self.creator_request_id,
            tags: self.tags,
        };
        let command = Command::CloudMap(command.into());
        let service = match call.commit(command).await {
            Ok(Reply::Service(service)) => service,
            Ok(other) => unreachable!("creating a service answers with it, not with {other:?}"),
            Err(error) => return Err(errors::from_commit(error)),
        };
        let view = call.view();
        reply::<Self>(&ServiceOutput {
            service: shape(call, view.scope_or_empty(&call.scope), &service),
        })
    }
}

impl CreateService {
    /// The namespace, from `NamespaceId` or from the deprecated `DnsConfig.NamespaceId`.
    fn namespace(&self) -> Option<&str> {
        let namespace = self.namespace_id.as_deref();
        namespace.or_else(|| self.dns_config.as_ref()?.namespace_id.as_deref())
    }
}

/// Checks the length of `DnsConfig.NamespaceId`: at most 64 characters, but clients send longer ARNs too.
fn check_deprecated_namespace_id(config: Option<&DnsConfigShape>) -> Result<(), ApiError> {
    match config.and_then(|config| config.namespace_id.as_deref()) {
        Some(id) if id.chars().count() > 64 && !id.starts_with("arn:") => Err(invalid(
            "DnsConfig.NamespaceId: has more than 64 characters",
        )),
        _ => Ok(()),
    }
}

impl RpcOperation for GetService {
    type Output = ServiceOutput;

    fn resource(&self, scope: &Scope) -> String {
        lookup::service_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let service = lookup::service(call, view, &self.id)?;
        reply::<Self>(&ServiceOutput {
            service: shape(call, view, service),
        })
    }
}

impl RpcOperation for ListServices {
    type Output = ListServicesOutput;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let mut namespaces = Vec::new();
        let mut is_own = true;
        for filter in filter::checked(self.filters.as_deref())? {
            match filter.name.as_str() {
                "NAMESPACE_ID" => {
                    filter.condition(&[Condition::Eq])?;
                    // An ARN of another account, region or type names no namespace with services.
                    match arn::bare_id(&call.scope, "namespace", &filter.values[0]) {
                        Some(id) => namespaces.push(id),
                        None => is_own = false,
                    }
                }
                "RESOURCE_OWNER" => is_own &= filter.includes_own(call)?,
                _ => return Err(filter.unknown()),
            }
        }
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let paging = |list| paging(list, self.max_results, self.next_token.as_deref());
        // The services of one namespace are adjacent in the view, sorted by name.
        let page = match namespaces.as_slice() {
            [] => {
                let services = view.services().filter(|_| is_own);
                paging("services")?.page(services, |service| &service.id)
            }
            [first, rest @ ..] => {
                let is_own = is_own && rest.iter().all(|other| other == first);
                let services = view.services_of(first).filter(|_| is_own);
                paging("servicesOfNamespace")?.page(services, |service| &service.name)
            }
        };
        reply::<Self>(&ListServicesOutput {
            services: page
                .items
                .into_iter()
                .map(|service| ServiceShape {
                    namespace_id: None,
                    creator_request_id: None,
                    ..shape(call, view, service)
                })
                .collect(),
            next_token: page.next,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetServiceAttributes {
    pub(crate) service_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetServiceAttributesOutput {
    pub(crate) service_attributes: ServiceAttributesShape,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceAttributesShape {
    pub(crate) service_arn: String,
    pub(crate) resource_owner: String,
    /// Absent when empty: the API model requires at least one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attributes: BTreeMap<String, String>,
}

impl RpcOperation for GetServiceAttributes {
    type Output = GetServiceAttributesOutput;

    fn resource(&self, scope: &Scope) -> String {
        lookup::service_arn(scope, &self.service_id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let view = call.view();
        let view = view.scope_or_empty(&call.scope);
        let service = lookup::service(call, view, &self.service_id)?;
        reply::<Self>(&GetServiceAttributesOutput {
            service_attributes: ServiceAttributesShape {
                service_arn: arn::of_service(&call.scope, &service.id),
                resource_owner: call.scope.account.to_string(),
                attributes: service.attributes.clone(),
            },
        })
    }
}

fn shape(call: &Call<'_>, view: &ScopeView, service: &Service) -> ServiceShape {
    let dns_config = service.dns_config.as_ref();
    ServiceShape {
        id: service.id.to_string(),
        arn: arn::of_service(&call.scope, &service.id),
        resource_owner: call.scope.account.to_string(),
        name: service.name.to_string(),
        namespace_id: Some(service.namespace_id.to_string()),
        description: service.description.clone(),
        instance_count: view.instance_count(&service.id) as u64,
        kind: dns_config.map_or("HTTP", |_| "DNS_HTTP").to_owned(),
        dns_config: dns_config.map_or_else(DnsConfigShape::default, |config| DnsConfigShape {
            namespace_id: Some(service.namespace_id.to_string()),
            routing_policy: Some(config.routing_policy.unwrap_or(RoutingPolicy::MultiValue)),
            dns_records: Some(config.dns_records.clone()),
        }),
        health_check_config: service.health_check.clone(),
        health_check_custom_config: service.custom_health_check.then_some(CustomHealthCheck {
            failure_threshold: Some(1),
        }),
        create_date: service.created_at,
        creator_request_id: service.creator_request_id.clone(),
        created_by_account: call.scope.account.to_string(),
    }
}
