//! Services: found, created, loaded, and deleted when no node uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tombolo_kube::register::Instance;
use tombolo_model::apply::cloudmap::CreateService;
use tombolo_model::appmesh::Tag;
use tombolo_model::cloudmap::{DnsConfig, DnsRecord, NamespaceType, RecordType, RoutingPolicy};

use super::nodes::ServiceName;
use crate::api::{Namespace, Service};
use crate::{ApiError, Event, OWNER_TAG, Observer, Options, RegistryApi};

/// A service as it was loaded, updated by the calls since.
pub(super) struct LoadedService {
    pub(super) service: Service,
    pub(super) instances: BTreeMap<String, Instance>,
}

/// The result of loading a service.
pub(super) enum Loaded {
    /// It exists.
    Service(LoadedService),
    /// It does not exist.
    Absent,
    /// No node uses it, and another owner has it.
    OtherOwner,
}

/// Loads one service.
pub(super) struct Job<A> {
    pub(super) api: Arc<A>,
    pub(super) options: Arc<Options>,
    /// The owner of a service that is created.
    pub(super) owner: String,
    /// Every owner that is this controller.
    pub(super) ours: BTreeSet<String>,
    pub(super) observer: Observer,
    pub(super) name: ServiceName,
    /// The uid of a node that uses it, as the idempotency token of the creation.
    pub(super) uid: Option<String>,
    /// Whether a node uses it.
    pub(super) is_used: bool,
    /// Whether a deleted node may have left instances.
    pub(super) may_have_orphans: bool,
    /// The service as it was found last.
    pub(super) known: Option<Service>,
}

impl<A: RegistryApi> Job<A> {
    pub(super) async fn run(self) -> Result<Loaded, ApiError> {
        if let Some(known) = &self.known {
            match self.api.list_instances(&known.id).await {
                // Deleted since, and possibly created again.
                Err(ApiError::NotFound(_)) => {}
                instances => return self.loaded(known.clone(), instances?).await,
            }
        }
        let Some(namespace) = self.namespace().await? else {
            return Ok(Loaded::Absent);
        };
        let found = self
            .api
            .find_service(&namespace.id, &self.name.service)
            .await?;
        let service = match found {
            Some(found) => found,
            None if self.is_used => return self.create(&namespace).await,
            None => return Ok(Loaded::Absent),
        };
        let instances = self.api.list_instances(&service.id).await?;
        self.loaded(service, instances).await
    }

    async fn loaded(
        &self,
        service: Service,
        instances: BTreeMap<String, Instance>,
    ) -> Result<Loaded, ApiError> {
        if self.is_used || self.may_have_orphans {
            return Ok(Loaded::Service(LoadedService { service, instances }));
        }
        if !instances.is_empty() {
            return Ok(Loaded::OtherOwner);
        }
        let owner = self.api.service_owner(&service.arn).await?;
        if owner.is_none_or(|owner| !self.ours.contains(&owner)) {
            return Ok(Loaded::OtherOwner);
        }
        self.api.delete_service(&service.id).await?;
        Ok(Loaded::Absent)
    }

    /// The namespace, created if it is missing and a node needs it, as the walkthroughs' scripts do by hand.
    async fn namespace(&self) -> Result<Option<Namespace>, ApiError> {
        let name = &self.name.namespace;
        if let Some(found) = find_namespace(&*self.api, name).await? {
            return Ok(Some(found));
        }
        let create = self
            .options
            .create_namespaces
            .as_ref()
            .filter(|_| self.is_used);
        let Some(vpc) = create else {
            return match self.is_used {
                true => Err(ApiError::NotFound(
                    format!("there is no Cloud Map namespace {name}; create it").into(),
                )),
                false => Ok(None),
            };
        };
        match self.api.create_namespace(name, vpc).await {
            Ok(()) => (self.observer)(Event::NamespaceCreated { name: name.clone() }),
            // The attempt of another service was faster.
            Err(ApiError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
        let missing =
            || ApiError::NotFound(format!("namespace {name} was created and is not there").into());
        find_namespace(&*self.api, name)
            .await?
            .map(Some)
            .ok_or_else(missing)
    }

    async fn create(&self, namespace: &Namespace) -> Result<Loaded, ApiError> {
        let record = DnsRecord {
            kind: RecordType::A,
            ttl: self.options.dns_ttl,
        };
        let dns_config = (namespace.kind != NamespaceType::HTTP).then(|| DnsConfig {
            routing_policy: Some(RoutingPolicy::MultiValue),
            dns_records: vec![record],
        });
        let command = CreateService {
            name: self.name.service.clone(),
            namespace_id: namespace.id.clone(),
            description: None,
            dns_config,
            health_check: None,
            custom_health_check: false,
            http_only: false,
            creator_request_id: self.uid.clone().filter(|uid| !uid.is_empty()),
            tags: vec![Tag {
                key: OWNER_TAG.to_owned(),
                value: self.owner.clone(),
            }],
        };
        let service = self.api.create_service(&command).await?;
        Ok(Loaded::Service(LoadedService {
            service,
            instances: BTreeMap::new(),
        }))
    }
}

async fn find_namespace<A: RegistryApi>(
    api: &A,
    name: &str,
) -> Result<Option<Namespace>, ApiError> {
    let namespaces = api.list_namespaces().await?;
    Ok(namespaces
        .into_iter()
        .find(|namespace| namespace.name == name))
}

/// Every service of the account with its instances. The caller decides which of them are orphans.
pub(super) async fn list_all<A: RegistryApi>(
    api: &A,
) -> Result<BTreeMap<ServiceName, Vec<Instance>>, ApiError> {
    let mut found = BTreeMap::new();
    for namespace in api.list_namespaces().await? {
        for service in existing(api.list_services(&namespace.id).await)? {
            let instances = match service.instances {
                0 => BTreeMap::new(),
                _ => existing(api.list_instances(&service.id).await)?,
            };
            let name = ServiceName {
                namespace: namespace.name.clone(),
                service: service.name,
            };
            found.insert(name, instances.into_values().collect());
        }
    }
    Ok(found)
}

/// The content of a namespace or service that was deleted meanwhile: none.
fn existing<T: Default>(listed: Result<T, ApiError>) -> Result<T, ApiError> {
    match listed {
        Err(ApiError::NotFound(_)) => Ok(T::default()),
        other => other,
    }
}
