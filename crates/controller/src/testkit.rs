//! A cluster and an API in memory, for tests that choose the failures.

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tombolo_kube::register::Instance;
use tombolo_model::Timestamp;
use tombolo_model::apply::cloudmap::CreateService;
use tombolo_model::appmesh::{Kind, ResourceKey, Spec};
use tombolo_model::cloudmap::NamespaceType;

use crate::api::{DescribedResource, ListedResource, Namespace, Service, Version};
use crate::{ApiError, MeshApi, RegistryApi};

pub(crate) use cluster::FakeCluster;

/// The failure of calls for one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Rejects them.
    Refuse,
    /// Panics.
    Panic,
    /// Never answers.
    Silence,
}

/// Both APIs in memory.
#[derive(Default)]
pub(crate) struct FakeApi {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_away: bool,
    faults: BTreeMap<String, Fault>,
    resources: BTreeMap<ResourceKey, (DescribedResource, Option<String>)>,
    namespaces: BTreeSet<String>,
    /// By id, which is `namespace/name`.
    services: BTreeMap<String, (Option<String>, BTreeMap<String, Instance>)>,
    clock: u64,
    /// Every call that changes a resource or describes one: `create mesh/m`.
    calls: Vec<String>,
}

fn refused(message: &str) -> Box<dyn std::error::Error + Send + Sync> {
    message.to_owned().into()
}

impl FakeApi {
    pub(crate) fn set_away(&self, is_away: bool) {
        self.state.lock().is_away = is_away;
    }

    /// Sets the failure of calls for this name (of a resource or an instance).
    pub(crate) fn fault(&self, name: &str, fault: Option<Fault>) {
        let mut state = self.state.lock();
        match fault {
            Some(fault) => drop(state.faults.insert(name.to_owned(), fault)),
            None => drop(state.faults.remove(name)),
        }
    }

    /// A change by another client: creates, replaces or deletes a resource.
    pub(crate) fn set(&self, key: &ResourceKey, spec: Option<Spec>, owner: Option<&str>) {
        let mut state = self.state.lock();
        state.clock += 1;
        match spec {
            Some(spec) => {
                let number = state
                    .resources
                    .get(key)
                    .map_or(1, |(found, _)| found.version.number + 1);
                let found = state.found(key, spec, number);
                state
                    .resources
                    .insert(key.clone(), (found, owner.map(str::to_owned)));
            }
            None => drop(state.resources.remove(key)),
        }
    }

    /// A namespace that exists.
    pub(crate) fn add_namespace(&self, name: &str) {
        self.state.lock().namespaces.insert(name.to_owned());
    }

    /// Adds a service without an owner, creating its namespace.
    pub(crate) fn add_service(&self, namespace: &str, name: &str, instances: Vec<Instance>) {
        let mut state = self.state.lock();
        state.namespaces.insert(namespace.to_owned());
        let instances = instances
            .into_iter()
            .map(|instance| (instance.id.clone(), instance))
            .collect();
        state
            .services
            .insert(format!("{namespace}/{name}"), (None, instances));
    }

    pub(crate) fn spec(&self, key: &ResourceKey) -> Option<Spec> {
        self.state
            .lock()
            .resources
            .get(key)
            .map(|(found, _)| found.spec.clone())
    }

    /// Names of the resources, as `mesh/m/virtualNode/x`.
    pub(crate) fn resources(&self) -> Vec<String> {
        self.state
            .lock()
            .resources
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    /// Ids of the instances of a service; `None` when there is no such service.
    pub(crate) fn instances(&self, service: &str) -> Option<Vec<String>> {
        let state = self.state.lock();
        let (_, instances) = state.services.get(service)?;
        Some(instances.keys().cloned().collect())
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().calls)
    }

    /// Records a call and fails as the test has chosen.
    async fn enter(&self, call: &str, name: &str) -> Result<MutexGuard<'_, State>, ApiError> {
        // Lets other tasks run meanwhile, as over a network.
        tokio::task::yield_now().await;
        let fault = {
            let mut state = self.state.lock();
            state.calls.push(format!("{call} {name}"));
            if state.is_away {
                return Err(ApiError::Unreachable(refused("connection refused")));
            }
            let last = name.rsplit('/').next().unwrap_or(name);
            state.faults.get(last).copied()
        };
        match fault {
            Some(Fault::Refuse) => Err(ApiError::Refused(refused("BadRequestException: no"))),
            Some(Fault::Panic) => panic!("the test wants it"),
            Some(Fault::Silence) => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Err(ApiError::Unreachable(refused("nothing within 10s")))
            }
            None => Ok(self.state.lock()),
        }
    }

    fn listed(&self, keep: impl Fn(&ResourceKey) -> bool) -> Result<Vec<ListedResource>, ApiError> {
        let state = self.state.lock();
        if state.is_away {
            return Err(ApiError::Unreachable(refused("connection refused")));
        }
        let resources = state.resources.iter().filter(|(key, _)| keep(key));
        let listed = resources.map(|(key, (found, _))| ListedResource {
            key: key.clone(),
            arn: found.arn.clone(),
            version: found.version,
        });
        Ok(listed.collect())
    }
}

impl State {
    fn found(&mut self, key: &ResourceKey, spec: Spec, number: u64) -> DescribedResource {
        self.clock += 1;
        DescribedResource {
            arn: format!("arn:{key}"),
            version: Version {
                number,
                updated: Timestamp(self.clock),
            },
            spec,
        }
    }
}

impl MeshApi for FakeApi {
    async fn describe(&self, key: &ResourceKey) -> Result<Option<DescribedResource>, ApiError> {
        let state = self.enter("describe", &key.to_string()).await?;
        Ok(state.resources.get(key).map(|(found, _)| found.clone()))
    }

    async fn create(
        &self,
        key: &ResourceKey,
        spec: &Spec,
        owner: &str,
    ) -> Result<DescribedResource, ApiError> {
        let mut state = self.enter("create", &key.to_string()).await?;
        if state.resources.contains_key(key) {
            return Err(ApiError::Exists(refused("ConflictException: it exists")));
        }
        let found = state.found(key, spec.clone(), 1);
        state
            .resources
            .insert(key.clone(), (found.clone(), Some(owner.to_owned())));
        Ok(found)
    }

    async fn update(&self, key: &ResourceKey, spec: &Spec) -> Result<DescribedResource, ApiError> {
        let mut state = self.enter("update", &key.to_string()).await?;
        let missing = || ApiError::NotFound(refused("NotFoundException: it is gone"));
        let (old, owner) = state.resources.get(key).cloned().ok_or_else(missing)?;
        let found = state.found(key, spec.clone(), old.version.number + 1);
        state.resources.insert(key.clone(), (found.clone(), owner));
        Ok(found)
    }

    async fn delete(&self, key: &ResourceKey) -> Result<(), ApiError> {
        let mut state = self.enter("delete", &key.to_string()).await?;
        let in_use = match key.kind {
            Kind::Mesh => state
                .resources
                .keys()
                .any(|other| other.mesh == key.mesh && other.kind != Kind::Mesh),
            _ => state
                .resources
                .keys()
                .any(|other| other.parent == key.name && other.kind.parent() == Some(key.kind)),
        };
        let target = format!("\"virtualNode\":\"{}\"", key.name);
        let is_target = state.resources.values().any(|(found, _)| {
            serde_json::to_string(&found.spec).is_ok_and(|spec| spec.contains(&target))
        });
        if in_use || is_target {
            return Err(ApiError::InUse(refused(
                "ResourceInUseException: something needs it",
            )));
        }
        state.resources.remove(key);
        Ok(())
    }

    async fn owner(&self, arn: &str) -> Result<Option<String>, ApiError> {
        let state = self.enter("tags", arn).await?;
        let mut resources = state.resources.values();
        Ok(resources
            .find(|(found, _)| found.arn == arn)
            .and_then(|(_, owner)| owner.clone()))
    }

    async fn list_meshes(&self) -> Result<Vec<ListedResource>, ApiError> {
        self.listed(|key| key.kind == Kind::Mesh)
    }

    async fn list(
        &self,
        mesh: &str,
        kind: Kind,
        parent: &str,
    ) -> Result<Vec<ListedResource>, ApiError> {
        self.listed(|key| *key.mesh == *mesh && key.kind == kind && *key.parent == *parent)
    }
}

fn service(id: &str, instances: usize) -> Service {
    Service {
        id: id.to_owned(),
        arn: id.to_owned(),
        name: id.rsplit('/').next().unwrap_or(id).to_owned(),
        instances: instances as u64,
    }
}

impl RegistryApi for FakeApi {
    async fn list_namespaces(&self) -> Result<Vec<Namespace>, ApiError> {
        let state = self.enter("list", "namespaces").await?;
        let namespaces = state.namespaces.iter().map(|name| Namespace {
            id: name.clone(),
            name: name.clone(),
            kind: NamespaceType::DNS_PRIVATE,
        });
        Ok(namespaces.collect())
    }

    async fn create_namespace(&self, name: &str, _: &str) -> Result<(), ApiError> {
        self.enter("create", name)
            .await?
            .namespaces
            .insert(name.to_owned());
        Ok(())
    }

    async fn list_services(&self, namespace_id: &str) -> Result<Vec<Service>, ApiError> {
        let state = self.enter("list", namespace_id).await?;
        let prefix = format!("{namespace_id}/");
        let services = state
            .services
            .iter()
            .filter(|(id, _)| id.starts_with(&prefix));
        Ok(services
            .map(|(id, (_, instances))| service(id, instances.len()))
            .collect())
    }

    async fn find_service(
        &self,
        namespace_id: &str,
        name: &str,
    ) -> Result<Option<Service>, ApiError> {
        let services = self.list_services(namespace_id).await?;
        Ok(services.into_iter().find(|service| service.name == name))
    }

    async fn create_service(&self, create: &CreateService) -> Result<Service, ApiError> {
        let id = format!("{}/{}", create.namespace_id, create.name);
        let mut state = self.enter("create", &id).await?;
        let owner = create
            .tags
            .iter()
            .find(|tag| tag.key == crate::OWNER_TAG)
            .map(|tag| tag.value.clone());
        state.services.insert(id.clone(), (owner, BTreeMap::new()));
        Ok(service(&id, 0))
    }

    async fn delete_service(&self, id: &str) -> Result<(), ApiError> {
        self.enter("delete", id).await?.services.remove(id);
        Ok(())
    }

    async fn service_owner(&self, arn: &str) -> Result<Option<String>, ApiError> {
        Ok(self
            .enter("tags", arn)
            .await?
            .services
            .get(arn)
            .and_then(|(owner, _)| owner.clone()))
    }

    async fn list_instances(
        &self,
        service_id: &str,
    ) -> Result<BTreeMap<String, Instance>, ApiError> {
        let state = self.enter("list", service_id).await?;
        let missing = || ApiError::NotFound(refused("ServiceNotFound: it is gone"));
        Ok(state
            .services
            .get(service_id)
            .ok_or_else(missing)?
            .1
            .clone())
    }

    async fn register(&self, service_id: &str, instance: &Instance) -> Result<(), ApiError> {
        let mut state = self.enter("register", &instance.id).await?;
        let missing = || ApiError::NotFound(refused("ServiceNotFound: it is gone"));
        let (_, instances) = state.services.get_mut(service_id).ok_or_else(missing)?;
        instances.insert(instance.id.clone(), instance.clone());
        Ok(())
    }

    async fn deregister(&self, service_id: &str, instance_id: &str) -> Result<(), ApiError> {
        let mut state = self.enter("deregister", instance_id).await?;
        if let Some((_, instances)) = state.services.get_mut(service_id) {
            instances.remove(instance_id);
        }
        Ok(())
    }
}

/// Waits for a condition. Time is virtual in tests that pause it, so the deadline costs nothing.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what} never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
