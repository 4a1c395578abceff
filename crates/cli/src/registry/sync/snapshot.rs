//! A registry as it is.

use super::MARK;
use std::collections::BTreeMap;
use tombolo_api::client::{Client, Error};
use tombolo_model::cloudmap::{DnsConfig, Health, HealthCheckConfig, NamespaceType};

/// Namespaces by name. Of two with one name the first counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) namespaces: BTreeMap<String, Namespace>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Namespace {
    pub(super) id: String,
    pub(super) kind: NamespaceType,
    pub(super) description: Option<String>,
    pub(super) soa_ttl: Option<u32>,
    /// Whether it carries the mark that was asked for.
    pub(super) is_marked: bool,
    pub(super) services: BTreeMap<String, Service>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Service {
    pub(super) id: String,
    pub(super) description: Option<String>,
    pub(super) dns_config: Option<DnsConfig>,
    pub(super) health_check: Option<HealthCheckConfig>,
    pub(super) custom_health_check: bool,
    /// Whether it carries the mark that was asked for.
    pub(super) is_marked: bool,
    /// By id.
    pub(super) instances: BTreeMap<String, Instance>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Instance {
    pub(super) attributes: BTreeMap<String, String>,
    /// Of a service with a custom health check.
    pub(super) health: Option<Health>,
}

impl Snapshot {
    /// Reads the wanted namespaces; with a `mark`, also which of them carry it.
    pub(super) async fn read(
        client: &Client,
        is_wanted: impl Fn(&str) -> bool,
        mark: Option<&str>,
    ) -> Result<Self, Error> {
        let mut snapshot = Self::default();
        for namespace in client.list_namespaces().await? {
            if !is_wanted(&namespace.name) || snapshot.namespaces.contains_key(&namespace.name) {
                continue;
            }
            let is_marked = is_marked(client, &namespace.arn, mark).await?;
            let services = services(client, &namespace.id, mark).await?;
            let read = Namespace {
                id: namespace.id,
                kind: namespace.kind,
                description: namespace.description,
                soa_ttl: namespace.soa_ttl,
                is_marked,
                services,
            };
            snapshot.namespaces.insert(namespace.name, read);
        }
        Ok(snapshot)
    }
}

async fn services(
    client: &Client,
    namespace: &str,
    mark: Option<&str>,
) -> Result<BTreeMap<String, Service>, Error> {
    let mut services = BTreeMap::new();
    for service in client.list_services(namespace).await? {
        let health = match service.custom_health_check {
            true => client.instances_health(&service.id).await?,
            false => BTreeMap::new(),
        };
        let instances = client.list_instances(&service.id).await?.into_iter();
        let instances = instances.map(|instance| {
            let health = health
                .get(&instance.id)
                .and_then(|health| match health.as_str() {
                    "HEALTHY" => Some(Health::Healthy),
                    "UNHEALTHY" => Some(Health::Unhealthy),
                    _ => None,
                });
            let attributes = instance.attributes;
            (instance.id, Instance { attributes, health })
        });
        let read = Service {
            is_marked: is_marked(client, &service.arn, mark).await?,
            id: service.id,
            description: service.description,
            dns_config: service.dns_config,
            health_check: service.health_check,
            custom_health_check: service.custom_health_check,
            instances: instances.collect(),
        };
        services.insert(service.name, read);
    }
    Ok(services)
}

async fn is_marked(client: &Client, arn: &str, mark: Option<&str>) -> Result<bool, Error> {
    let Some(mark) = mark else { return Ok(false) };
    let tags = client.registry_tags(arn).await?;
    Ok(tags.iter().any(|tag| tag.key == MARK && tag.value == mark))
}
