//! Services.

use super::{
    Condition, Empty, Filter, OperationId, TagShape, errors, filter, ids, invalid, paging, run,
    run_operation, tag,
};
use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, reply},
    wire::epoch,
};
use serde::{Deserialize, Serialize};
use tombolo_model::{
    Command, Reply, Scope, ScopeView, Timestamp,
    apply::cloudmap,
    arn,
    cloudmap::{DnsConfig, DnsRecord, HealthCheckConfig, RoutingPolicy, Service},
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateService {
    pub(crate) name: String,
    /// An id or an ARN.
    pub(crate) namespace_id: Option<String>,
    pub(crate) creator_request_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) dns_config: Option<DnsConfigInput>,
    pub(crate) health_check_config: Option<HealthCheckConfig>,
    pub(crate) health_check_custom_config: Option<CustomHealthCheck>,
    pub(crate) tags: Option<Vec<TagShape>>,
    #[serde(rename = "Type")]
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsConfigInput {
    /// Where older clients name the namespace.
    pub(crate) namespace_id: Option<String>,
    pub(crate) routing_policy: Option<RoutingPolicy>,
    pub(crate) dns_records: Vec<DnsRecord>,
}

/// The threshold is deprecated: it is checked and then always 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CustomHealthCheck {
    pub(crate) failure_threshold: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateService {
    /// An id or an ARN.
    pub(crate) id: String,
    pub(crate) service: ServiceUpdate,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceUpdate {
    pub(crate) description: Option<String>,
    pub(crate) dns_config: Option<DnsConfigUpdate>,
    pub(crate) health_check_config: Option<HealthCheckConfig>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsConfigUpdate {
    pub(crate) dns_records: Vec<DnsRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteService {
    /// An id or an ARN.
    pub(crate) id: String,
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

/// `Service` and `ServiceSummary`; the latter has no namespace of its own and no token.
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

/// Empty where a service publishes nothing. The namespace is repeated, for clients that wrote it there; the
/// policy's default is told.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsConfigShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) routing_policy: Option<RoutingPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dns_records: Option<Vec<DnsRecord>>,
}

impl RpcOperation for CreateService {
    type Output = ServiceOutput;

    fn resource(&self, scope: &Scope) -> String {
        let namespace = self.namespace();
        namespace.map_or_else(|| ANY.to_owned(), |text| ids::namespace_arn(scope, text))
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        check_old_namespace_id(self.dns_config.as_ref())?;
        let namespace = self
            .namespace()
            .ok_or_else(|| invalid("NamespaceId: must be given"))?;
        let namespace_id = ids::namespace_id(call, namespace)?.to_owned();
        if let Some(kind) = self.kind.as_deref().filter(|kind| *kind != "HTTP") {
            return Err(invalid(format!("Type: {kind:?} is not HTTP")));
        }
        let custom = self.health_check_custom_config.as_ref();
        let threshold = custom.and_then(|custom| custom.failure_threshold);
        if threshold.is_some_and(|n| !(1..=10).contains(&n)) {
            let message = "HealthCheckCustomConfig.FailureThreshold: must be between 1 and 10";
            return Err(invalid(message));
        }
        let command = cloudmap::CreateService {
            name: self.name,
            namespace_id,
            description: self.description,
            dns_config: self.dns_config.map(|config| DnsConfig {
                routing_policy: config.routing_policy,
                dns_records: config.dns_records,
            }),
            health_check: self.health_check_config,
            custom_health_check: self.health_check_custom_config.is_some(),
            http_only: self.kind.is_some(),
            creator_request_id: self.creator_request_id,
            tags: tag::of_input(self.tags),
        };
        let command = Command::CloudMap(cloudmap::Command::CreateService(command));
        let service = match call.commit(command).await {
            Ok(Reply::Service(service)) => service,
            Ok(other) => unreachable!("creating a service answers with it, not with {other:?}"),
            Err(error) => return Err(errors::from_commit(error)),
        };
        let view = call.view();
        reply::<Self>(&ServiceOutput {
            service: shape(call, view.scope(&call.scope), &service),
        })
    }
}

impl CreateService {
    /// The namespace, from where clients write it.
    fn namespace(&self) -> Option<&str> {
        let outside = self.namespace_id.as_deref();
        outside.or_else(|| self.dns_config.as_ref()?.namespace_id.as_deref())
    }
}

/// The old place is for bare ids; ARNs are longer, and clients write them there all the same.
fn check_old_namespace_id(config: Option<&DnsConfigInput>) -> Result<(), ApiError> {
    match config.and_then(|config| config.namespace_id.as_deref()) {
        Some(id) if id.chars().count() > 64 && !id.starts_with("arn:") => Err(invalid(
            "DnsConfig.NamespaceId: has more than 64 characters",
        )),
        _ => Ok(()),
    }
}

impl RpcOperation for UpdateService {
    type Output = OperationId;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let records = self.service.dns_config.map(|config| config.dns_records);
        let command = cloudmap::UpdateService {
            id: ids::service_id(call, &self.id)?.to_owned(),
            description: self.service.description,
            dns_records: records.unwrap_or_default(),
            health_check: self.service.health_check_config,
        };
        run_operation(call, cloudmap::Command::UpdateService(command)).await
    }
}

impl RpcOperation for DeleteService {
    type Output = Empty;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let id = ids::service_id(call, &self.id)?.to_owned();
        run(call, cloudmap::Command::DeleteService { id }).await
    }
}

impl RpcOperation for GetService {
    type Output = ServiceOutput;

    fn resource(&self, scope: &Scope) -> String {
        ids::service_arn(scope, &self.id)
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let view = call.view();
        let (scope, service) = ids::service(call, view.scope(&call.scope), &self.id)?;
        reply::<Self>(&ServiceOutput {
            service: shape(call, Some(scope), service),
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
        let scope = view.scope(&call.scope).filter(|_| is_own);
        let paging = |list| paging(list, self.max_results, self.next_token.as_deref());
        // Within one namespace the services are neighbours, sorted by name.
        let page = match namespaces.as_slice() {
            [] => {
                let services = scope.into_iter().flat_map(ScopeView::services);
                paging("services")?.page(services, |service| &service.id)
            }
            [first, rest @ ..] => {
                let wanted = scope.filter(|_| rest.iter().all(|other| other == first));
                let services = wanted
                    .into_iter()
                    .flat_map(|scope| scope.services_of(first));
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
                    ..shape(call, scope, service)
                })
                .collect(),
            next_token: page.next,
        })
    }
}

fn shape(call: &Call<'_>, scope: Option<&ScopeView>, service: &Service) -> ServiceShape {
    let instances = scope.map_or(0, |scope| scope.instance_count(&service.id));
    let dns_config = service.dns_config.as_ref();
    ServiceShape {
        id: service.id.to_string(),
        arn: arn::of_service(&call.scope, &service.id),
        resource_owner: call.scope.account.to_string(),
        name: service.name.to_string(),
        namespace_id: Some(service.namespace_id.to_string()),
        description: service.description.clone(),
        instance_count: instances as u64,
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
