//! Services.

use super::{
    IdInput, ListInput, errors,
    filter::Condition,
    ids, invalid, read, run_operation,
    tag::{self, TagInput},
    write,
};
use crate::wire::{Call, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tombolo_model::{
    Command, Reply, ScopeView,
    apply::cloudmap,
    arn,
    cloudmap::{DnsConfig, DnsRecord, HealthCheckConfig, RoutingPolicy, Service},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput {
    name: String,
    namespace_id: Option<String>,
    creator_request_id: Option<String>,
    description: Option<String>,
    dns_config: Option<DnsConfigInput>,
    health_check_config: Option<HealthCheckConfig>,
    health_check_custom_config: Option<CustomHealthCheckInput>,
    tags: Option<Vec<TagInput>>,
    #[serde(rename = "Type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DnsConfigInput {
    /// The place where older clients name the namespace.
    namespace_id: Option<String>,
    routing_policy: Option<RoutingPolicy>,
    dns_records: Vec<DnsRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateInput {
    /// An id or an ARN.
    id: String,
    service: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    description: Option<String>,
    dns_config: Option<DnsConfigChange>,
    health_check_config: Option<HealthCheckConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DnsConfigChange {
    dns_records: Vec<DnsRecord>,
}

/// Its threshold is deprecated: it is checked and then always 1.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CustomHealthCheckInput {
    failure_threshold: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListOutput {
    services: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: CreateInput = read(call)?;
    check_old_namespace_id(input.dns_config.as_ref())?;
    let namespace = (input.namespace_id.as_deref())
        .or_else(|| input.dns_config.as_ref()?.namespace_id.as_deref())
        .ok_or_else(|| invalid("NamespaceId: must be given"))?;
    let namespace_id = ids::namespace_id(call, namespace)?.to_owned();
    if let Some(kind) = input.kind.as_deref().filter(|kind| *kind != "HTTP") {
        return Err(invalid(format!("Type: {kind:?} is not HTTP")));
    }
    if let Some(custom) = &input.health_check_custom_config
        && custom
            .failure_threshold
            .is_some_and(|n| !(1..=10).contains(&n))
    {
        let message = "HealthCheckCustomConfig.FailureThreshold: must be between 1 and 10";
        return Err(invalid(message));
    }
    let command = cloudmap::CreateService {
        name: input.name,
        namespace_id,
        description: input.description,
        dns_config: input.dns_config.map(|config| DnsConfig {
            routing_policy: config.routing_policy,
            dns_records: config.dns_records,
        }),
        health_check: input.health_check_config,
        custom_health_check: input.health_check_custom_config.is_some(),
        http_only: input.kind.is_some(),
        creator_request_id: input.creator_request_id,
        tags: tag::tags(input.tags),
    };
    let command = Command::CloudMap(cloudmap::Command::CreateService(command));
    let service = match call.commit(command).await {
        Ok(Reply::Service(service)) => service,
        Ok(other) => unreachable!("creating a service answers with it, not with {other:?}"),
        Err(error) => return Err(errors::from_commit(error)),
    };
    let view = call.view();
    write(&json!({ "Service": shape(call, view.scope(&call.scope), &service) }))
}

/// The old place is for bare ids; ARNs are longer, and clients write them there all the same.
fn check_old_namespace_id(config: Option<&DnsConfigInput>) -> Result<(), Failure> {
    match config.and_then(|config| config.namespace_id.as_deref()) {
        Some(id) if id.chars().count() > 64 && !id.starts_with("arn:") => Err(invalid(
            "DnsConfig.NamespaceId: has more than 64 characters",
        )),
        _ => Ok(()),
    }
}

pub(super) async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: UpdateInput = read(call)?;
    let records = input.service.dns_config.map(|config| config.dns_records);
    let command = cloudmap::UpdateService {
        id: ids::service_id(call, &input.id)?.to_owned(),
        description: input.service.description,
        dns_records: records.unwrap_or_default(),
        health_check: input.service.health_check_config,
    };
    run_operation(call, cloudmap::Command::UpdateService(command)).await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: IdInput = read(call)?;
    let id = ids::service_id(call, &input.id)?.to_owned();
    let command = Command::CloudMap(cloudmap::Command::DeleteService { id });
    call.commit(command).await.map_err(errors::from_commit)?;
    write(&json!({}))
}

pub(super) fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: IdInput = read(call)?;
    let view = call.view();
    let (scope, service) = ids::service(call, view.scope(&call.scope), &input.id)?;
    write(&json!({ "Service": shape(call, Some(scope), service) }))
}

pub(super) fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: ListInput = read(call)?;
    let mut namespaces = Vec::new();
    let mut is_own = true;
    for filter in input.filters()? {
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
    // Within one namespace the services are neighbours, sorted by name.
    let page = match namespaces.as_slice() {
        [] => {
            let services = scope.into_iter().flat_map(ScopeView::services);
            (input.page.paging("services")?).page(services, |service| &service.id)
        }
        [first, rest @ ..] => {
            let wanted = scope.filter(|_| rest.iter().all(|other| other == first));
            let services = wanted
                .into_iter()
                .flat_map(|scope| scope.services_of(first));
            (input.page.paging("servicesOfNamespace")?).page(services, |service| &service.name)
        }
    };
    write(&ListOutput {
        services: page
            .items
            .into_iter()
            .map(|service| Value::Object(summary(call, scope, service)))
            .collect(),
        next_token: page.next,
    })
}

/// `ServiceSummary`.
fn summary(call: &Call<'_>, scope: Option<&ScopeView>, service: &Service) -> Map<String, Value> {
    let mut summary = shape(call, scope, service);
    // `retain` keeps the order of the rest.
    summary.retain(|member, _| member != "NamespaceId" && member != "CreatorRequestId");
    summary
}

fn shape(call: &Call<'_>, scope: Option<&ScopeView>, service: &Service) -> Map<String, Value> {
    let account: &Arc<str> = &call.scope.account;
    let mut shape = Map::new();
    shape.insert("Id".into(), (*service.id).into());
    let arn = arn::of_service(&call.scope, &service.id);
    shape.insert("Arn".into(), arn.into());
    shape.insert("ResourceOwner".into(), (**account).into());
    shape.insert("Name".into(), (*service.name).into());
    shape.insert("NamespaceId".into(), (*service.namespace_id).into());
    if let Some(description) = &service.description {
        shape.insert("Description".into(), description.as_str().into());
    }
    let instances = scope.map_or(0, |scope| scope.instance_count(&service.id));
    shape.insert("InstanceCount".into(), instances.into());
    // The namespace is repeated, for clients that wrote it there; the policy's default is told.
    let (dns, kind) = match &service.dns_config {
        None => (json!({}), "HTTP"),
        Some(config) => {
            let policy = config.routing_policy.unwrap_or(RoutingPolicy::MultiValue);
            let dns = json!({
                "NamespaceId": service.namespace_id,
                "RoutingPolicy": policy,
                "DnsRecords": config.dns_records,
            });
            (dns, "DNS_HTTP")
        }
    };
    shape.insert("DnsConfig".into(), dns);
    shape.insert("Type".into(), kind.into());
    if let Some(check) = &service.health_check {
        shape.insert("HealthCheckConfig".into(), json!(check));
    }
    if service.custom_health_check {
        let check = json!({ "FailureThreshold": 1 });
        shape.insert("HealthCheckCustomConfig".into(), check);
    }
    let created = service.created_at.epoch_seconds();
    shape.insert("CreateDate".into(), created.into());
    if let Some(token) = &service.creator_request_id {
        shape.insert("CreatorRequestId".into(), token.as_str().into());
    }
    shape.insert("CreatedByAccount".into(), (**account).into());
    shape
}
