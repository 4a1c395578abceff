//! Namespaces.

use super::{
    IdInput, ListInput,
    filter::Condition,
    ids, read, run_operation,
    tag::{self, TagInput},
    write,
};
use crate::wire::{Call, Failure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tombolo_model::{
    ScopeView,
    apply::cloudmap,
    arn,
    cloudmap::{Namespace, NamespaceType},
};

/// What every creation has.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput {
    name: String,
    creator_request_id: Option<String>,
    description: Option<String>,
    tags: Option<Vec<TagInput>>,
}

/// What the creation of a private namespace has besides.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VpcInput {
    vpc: String,
}

/// What the creation of a namespace in DNS has besides.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ZoneInput {
    properties: Option<PropertiesInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateInput<Change> {
    /// An id or an ARN.
    id: String,
    updater_request_id: Option<String>,
    namespace: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HttpChange {
    description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DnsChange {
    description: Option<String>,
    properties: Option<PropertiesInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PropertiesInput {
    dns_properties: DnsPropertiesInput,
}

#[derive(Deserialize)]
struct DnsPropertiesInput {
    #[serde(rename = "SOA")]
    soa: SoaInput,
}

#[derive(Deserialize)]
struct SoaInput {
    #[serde(rename = "TTL")]
    ttl: u32,
}

impl PropertiesInput {
    fn soa_ttl(self) -> u32 {
        self.dns_properties.soa.ttl
    }
}

impl From<HttpChange> for DnsChange {
    fn from(change: HttpChange) -> Self {
        Self {
            description: Some(change.description),
            properties: None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListOutput {
    namespaces: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) async fn create_http(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    create(call, NamespaceType::HTTP, None, None).await
}

pub(super) async fn create_private(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let VpcInput { vpc } = read(call)?;
    create(call, NamespaceType::DNS_PRIVATE, Some(vpc), soa_ttl(call)?).await
}

pub(super) async fn create_public(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    create(call, NamespaceType::DNS_PUBLIC, None, soa_ttl(call)?).await
}

async fn create(
    call: &Call<'_>,
    kind: NamespaceType,
    vpc: Option<String>,
    soa_ttl: Option<u32>,
) -> Result<Vec<u8>, Failure> {
    let input: CreateInput = read(call)?;
    let command = cloudmap::CreateNamespace {
        name: input.name,
        kind,
        vpc,
        description: input.description,
        soa_ttl,
        creator_request_id: input.creator_request_id,
        tags: tag::tags(input.tags),
    };
    run_operation(call, cloudmap::Command::CreateNamespace(command)).await
}

fn soa_ttl(call: &Call<'_>) -> Result<Option<u32>, Failure> {
    let input: ZoneInput = read(call)?;
    Ok(input.properties.map(PropertiesInput::soa_ttl))
}

pub(super) async fn update_http(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    update::<HttpChange>(call, NamespaceType::HTTP).await
}

pub(super) async fn update_private(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    update::<DnsChange>(call, NamespaceType::DNS_PRIVATE).await
}

pub(super) async fn update_public(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    update::<DnsChange>(call, NamespaceType::DNS_PUBLIC).await
}

async fn update<Change: DeserializeOwned + Into<DnsChange>>(
    call: &Call<'_>,
    kind: NamespaceType,
) -> Result<Vec<u8>, Failure> {
    let input: UpdateInput<Change> = read(call)?;
    let change = input.namespace.into();
    let command = cloudmap::UpdateNamespace {
        id: ids::namespace_id(call, &input.id)?.to_owned(),
        kind,
        description: change.description,
        soa_ttl: change.properties.map(PropertiesInput::soa_ttl),
        updater_request_id: input.updater_request_id,
    };
    run_operation(call, cloudmap::Command::UpdateNamespace(command)).await
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: IdInput = read(call)?;
    let id = ids::namespace_id(call, &input.id)?.to_owned();
    run_operation(call, cloudmap::Command::DeleteNamespace { id }).await
}

pub(super) fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: IdInput = read(call)?;
    let view = call.view();
    let scope = view.scope(&call.scope);
    let namespace = ids::namespace(call, scope, &input.id)?;
    let mut shape = summary(call, scope, namespace);
    if let Some(token) = &namespace.creator_request_id {
        shape.insert("CreatorRequestId".into(), token.as_str().into());
    }
    write(&json!({ "Namespace": shape }))
}

pub(super) fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let input: ListInput = read(call)?;
    let paging = input.page.paging("namespaces")?;
    let mut filters = Vec::new();
    let mut is_own = true;
    for filter in input.filters()? {
        if filter.name == "RESOURCE_OWNER" {
            is_own &= filter.includes_own(call)?;
            continue;
        }
        let member: fn(&Namespace) -> &str = match filter.name.as_str() {
            "TYPE" => |namespace| namespace.kind.word(),
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
        filters
            .iter()
            .all(|(filter, condition, member)| filter.matches(*condition, member(namespace)))
    });
    let page = paging.page(matching, |namespace| &namespace.id);
    let namespaces = page.items.iter();
    write(&ListOutput {
        namespaces: namespaces
            .map(|namespace| Value::Object(summary(call, scope, namespace)))
            .collect(),
        next_token: page.next,
    })
}

/// `NamespaceSummary`: everything but the creation's token.
fn summary(
    call: &Call<'_>,
    scope: Option<&ScopeView>,
    namespace: &Namespace,
) -> Map<String, Value> {
    let mut shape = Map::new();
    shape.insert("Id".into(), (*namespace.id).into());
    let arn = arn::of_namespace(&call.scope, &namespace.id);
    shape.insert("Arn".into(), arn.into());
    shape.insert("ResourceOwner".into(), (*call.scope.account).into());
    shape.insert("Name".into(), (*namespace.name).into());
    shape.insert("Type".into(), namespace.kind.word().into());
    if let Some(description) = &namespace.description {
        shape.insert("Description".into(), description.as_str().into());
    }
    let services = scope.map_or(0, |scope| scope.services_of(&namespace.id).count());
    shape.insert("ServiceCount".into(), services.into());
    // Both blocks are always there, whatever the type.
    let mut dns = Map::new();
    if let Some(zone) = &namespace.hosted_zone_id {
        dns.insert("HostedZoneId".into(), zone.as_str().into());
    }
    let soa = match namespace.soa_ttl {
        Some(ttl) => json!({ "TTL": ttl }),
        None => json!({}),
    };
    dns.insert("SOA".into(), soa);
    shape.insert(
        "Properties".into(),
        json!({ "DnsProperties": dns, "HttpProperties": { "HttpName": namespace.http_name } }),
    );
    let created = namespace.created_at.epoch_seconds();
    shape.insert("CreateDate".into(), created.into());
    shape
}
