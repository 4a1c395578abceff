//! Pods into Cloud Map: who is ready is registered, who leaves is deregistered, at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use tombolo_api::client::{Client, Error};
use tombolo_kube::inject::CLOUD_MAP_GATE;
use tombolo_kube::register::{self, Instance, Owner, PodClass};
use tombolo_kube::selector;
use tombolo_model::apply::cloudmap::{CreateService, RegisterInstance};
use tombolo_model::cloudmap::{DnsConfig, DnsRecord, NamespaceType, RecordType, RoutingPolicy};

use super::Changes;
use crate::clock;
use crate::cluster::Cluster;
use crate::cluster::view::view;
use crate::pod::state::open_gate;
use crate::progress::{Event, Progress};

/// How often the registry is read again although nothing happened here.
const RECHECK: Duration = Duration::from_secs(15);

/// Pause before what failed is tried again.
const RETRY: Duration = Duration::from_millis(300);

/// Calls under way at a time.
const CONCURRENT: usize = 32;

/// Seconds that resolvers may keep an answer. The original's 300 suit a cloud; here pods come and go.
const TTL: u32 = 5;

/// The VPC that private namespaces are said to be in. A label: there is one network here.
const VPC: &str = "vpc-local";

/// The registrar of all clusters.
pub struct Registrar {
    clusters: Vec<Arc<Cluster>>,
    client: Client,
    progress: Progress,
    namespaces: BTreeMap<String, (String, NamespaceType)>,
    services: BTreeMap<ServiceName, ServiceState>,
    /// Whose instances we have touched: what an owner leaves behind is removed after it is gone.
    owners: BTreeSet<OwnerKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ServiceName {
    namespace: String,
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct OwnerKey {
    service: ServiceName,
    mesh: String,
    node: String,
}

#[derive(Debug)]
struct ServiceState {
    id: String,
    instances: BTreeMap<String, Instance>,
    /// The virtual node that we created the service for.
    created_for: Option<OwnerKey>,
}

/// The pods of a virtual node, in every cluster that has it.
#[derive(Debug, Default)]
struct Group {
    pods: Vec<(PodClass, Instance)>,
    /// Cluster, namespace and name of each pod by instance id.
    places: BTreeMap<String, (usize, String, String)>,
    uid: String,
}

enum Call {
    Register(Instance),
    Deregister(String),
}

impl Registrar {
    /// A registrar that knows nothing of the registry yet.
    pub fn new(clusters: Vec<Arc<Cluster>>, client: Client, progress: Progress) -> Self {
        let (namespaces, services, owners) = Default::default();
        Self {
            clusters,
            client,
            progress,
            namespaces,
            services,
            owners,
        }
    }

    /// Reconciles at each change, when the control plane came back, and on a timer, until dropped.
    pub async fn run(mut self, restarted: Arc<tokio::sync::Notify>) {
        let mut changes = Changes::of(&self.clusters);
        let mut verify = true;
        let mut rechecked = tokio::time::Instant::now();
        loop {
            if verify {
                rechecked = tokio::time::Instant::now();
                self.namespaces.clear();
                self.services.retain(|_, state| {
                    state.instances.clear();
                    state.created_for.is_some()
                });
            }
            let complete = match self.reconcile(verify).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(%error, "registry not up to date");
                    false
                }
            };
            let pause = if complete {
                RECHECK.saturating_sub(rechecked.elapsed())
            } else {
                RETRY
            };
            verify = tokio::select! {
                () = changes.next() => !complete,
                () = restarted.notified() => true,
                () = tokio::time::sleep(pause) => true,
            };
        }
    }

    /// One pass.
    async fn reconcile(&mut self, verify: bool) -> Result<(), Error> {
        let mut wanted = self.wanted();
        for owner in &self.owners {
            wanted.entry(owner.clone()).or_default();
        }
        let mut calls = Vec::new();
        let mut outcome = Ok(());
        for (owner, group) in &wanted {
            let fresh = verify
                && self
                    .services
                    .get(&owner.service)
                    .is_none_or(|state| state.instances.is_empty());
            if !self.services.contains_key(&owner.service) || fresh {
                if group.pods.is_empty() && !self.owners.contains(owner) && group.uid.is_empty() {
                    continue;
                }
                if let Err(error) = self.find_service(owner, group).await {
                    outcome = Err(error);
                    continue;
                }
            }
            let Some(state) = self.services.get(&owner.service) else {
                continue;
            };
            let registered: Vec<Instance> = state.instances.values().cloned().collect();
            let names = Owner {
                mesh: owner.mesh.clone(),
                virtual_node: owner.node.clone(),
            };
            let changes = register::diff(&names, &group.pods, &registered, false);
            calls.extend(
                changes
                    .deregister
                    .into_iter()
                    .map(|id| (owner.clone(), state.id.clone(), Call::Deregister(id))),
            );
            calls.extend(
                changes
                    .register
                    .into_iter()
                    .map(|instance| (owner.clone(), state.id.clone(), Call::Register(instance))),
            );
        }
        let client = &self.client;
        let calls = calls.into_iter().map(|(owner, service, call)| async move {
            let result = perform(client, &service, &call).await;
            (owner, call, result)
        });
        let results: Vec<_> = futures::stream::iter(calls)
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        for (owner, call, result) in results {
            match (result, self.services.get_mut(&owner.service)) {
                (Ok(()), Some(state)) => match call {
                    Call::Register(instance) => {
                        state.instances.insert(instance.id.clone(), instance);
                    }
                    Call::Deregister(id) => {
                        state.instances.remove(&id);
                    }
                },
                (Ok(()), None) => {}
                (Err(error), _) => outcome = Err(error),
            }
        }
        self.open_gates(&wanted);
        self.let_go(&wanted).await;
        outcome
    }

    /// The pods of every virtual node that uses the registry.
    fn wanted(&self) -> BTreeMap<OwnerKey, Group> {
        let mut groups: BTreeMap<OwnerKey, Group> = BTreeMap::new();
        for (index, cluster) in self.clusters.iter().enumerate() {
            let (view, pods) = cluster
                .objects
                .read(|objects| (view(objects), objects.list::<Pod>()));
            for node in view.virtual_nodes() {
                let Some(cloud_map) = node.spec.cloud_map() else {
                    continue;
                };
                let mesh = node
                    .spec
                    .mesh_ref
                    .as_ref()
                    .and_then(|mesh| view.mesh(&mesh.name))
                    .and_then(|mesh| mesh.spec.aws_name.clone());
                let (Some(mesh), Some(name)) = (mesh, node.spec.aws_name.clone()) else {
                    continue;
                };
                let service = ServiceName {
                    namespace: cloud_map.namespace_name.clone(),
                    service: cloud_map.service_name.clone(),
                };
                let owner = Owner {
                    mesh: mesh.clone(),
                    virtual_node: name.clone(),
                };
                let group = groups
                    .entry(OwnerKey {
                        service,
                        mesh,
                        node: name,
                    })
                    .or_default();
                group.uid = node.metadata.uid.clone().unwrap_or_default();
                let Some(selector) = &node.spec.pod_selector else {
                    continue;
                };
                for pod in pods
                    .iter()
                    .filter(|pod| pod.metadata.namespace == node.metadata.namespace)
                {
                    let labels = pod.metadata.labels.clone().unwrap_or_default();
                    if !selector::matches(selector, &labels) {
                        continue;
                    }
                    if let Some(instance) = register::instance(pod, node, &owner, None) {
                        let name = pod.metadata.name.clone().unwrap_or_default();
                        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
                        group
                            .places
                            .insert(instance.id.clone(), (index, namespace, name));
                        group.pods.push((register::classify(pod), instance));
                    }
                }
            }
        }
        groups
    }

    /// Finds or creates the service of an owner and reads its instances.
    async fn find_service(&mut self, owner: &OwnerKey, group: &Group) -> Result<(), Error> {
        let ServiceName { namespace, service } = &owner.service;
        let (namespace_id, kind) = match self.namespaces.get(namespace) {
            Some(known) => known.clone(),
            None => {
                let found = self.find_namespace(namespace).await?;
                self.namespaces.insert(namespace.clone(), found.clone());
                found
            }
        };
        let mut created_for = self
            .services
            .get(&owner.service)
            .and_then(|state| state.created_for.clone());
        let id = match self.client.find_service(&namespace_id, service).await? {
            Some(found) => found.id,
            None => {
                created_for = Some(owner.clone());
                let record = DnsRecord {
                    kind: RecordType::A,
                    ttl: TTL,
                };
                let dns_config = (kind != NamespaceType::HTTP).then(|| DnsConfig {
                    routing_policy: Some(RoutingPolicy::MultiValue),
                    dns_records: vec![record],
                });
                let command = CreateService {
                    name: service.clone(),
                    namespace_id,
                    description: None,
                    dns_config,
                    health_check: None,
                    custom_health_check: false,
                    http_only: false,
                    creator_request_id: Some(group.uid.clone()).filter(|uid| !uid.is_empty()),
                    tags: Vec::new(),
                };
                self.client.create_service(&command).await?.id
            }
        };
        let instances = self.client.list_instances(&id).await?;
        let instances = instances.into_iter().map(|instance| {
            (
                instance.id.clone(),
                Instance {
                    id: instance.id,
                    attributes: instance.attributes,
                },
            )
        });
        self.services.insert(
            owner.service.clone(),
            ServiceState {
                id,
                instances: instances.collect(),
                created_for,
            },
        );
        self.owners.insert(owner.clone());
        Ok(())
    }

    /// The id of a namespace; a private DNS namespace is created if there is none, as the walkthroughs' scripts
    /// do by hand.
    async fn find_namespace(&self, name: &str) -> Result<(String, NamespaceType), Error> {
        if let Some(found) = self.client.find_namespace(name).await? {
            return Ok((found.id, found.kind));
        }
        let operation = self.client.create_private_dns_namespace(name, VPC).await?;
        self.client.wait(&operation).await?;
        self.progress.send(Event::NamespaceCreated {
            name: name.to_owned(),
        });
        match self.client.find_namespace(name).await? {
            Some(found) => Ok((found.id, found.kind)),
            None => Err(Error::Protocol(format!(
                "namespace {name} was created and is not there"
            ))),
        }
    }

    /// Tells pods that the registry hands out their addresses.
    fn open_gates(&self, wanted: &BTreeMap<OwnerKey, Group>) {
        for (owner, group) in wanted {
            let Some(state) = self.services.get(&owner.service) else {
                continue;
            };
            for (id, (cluster, namespace, name)) in &group.places {
                if state.instances.contains_key(id) {
                    self.clusters[*cluster].objects.write(|objects| {
                        objects.edit::<Pod>(namespace, name, |pod| {
                            let awaited = pod
                                .spec
                                .as_ref()
                                .and_then(|spec| spec.readiness_gates.as_ref());
                            if awaited
                                .into_iter()
                                .flatten()
                                .any(|gate| gate.condition_type == CLOUD_MAP_GATE)
                            {
                                open_gate(pod, CLOUD_MAP_GATE, clock::now());
                            }
                        })
                    });
                }
            }
        }
    }

    /// Forgets owners that are gone, and deletes services that were created for them.
    async fn let_go(&mut self, wanted: &BTreeMap<OwnerKey, Group>) {
        let gone: Vec<OwnerKey> = self
            .owners
            .iter()
            .filter(|owner| wanted.get(owner).is_none_or(|group| group.uid.is_empty()))
            .cloned()
            .collect();
        for owner in gone {
            let Some(state) = self.services.get(&owner.service) else {
                self.owners.remove(&owner);
                continue;
            };
            let names = Owner {
                mesh: owner.mesh.clone(),
                virtual_node: owner.node.clone(),
            };
            let registered: Vec<Instance> = state.instances.values().cloned().collect();
            if !register::diff(&names, &[], &registered, false).is_settled() {
                continue;
            }
            if state.created_for.as_ref() == Some(&owner) && state.instances.is_empty() {
                match self.client.delete_service(&state.id).await {
                    Err(error) if !error.is_not_found() => continue,
                    _ => drop(self.services.remove(&owner.service)),
                }
            }
            self.owners.remove(&owner);
        }
    }
}

async fn perform(client: &Client, service: &str, call: &Call) -> Result<(), Error> {
    let operation = match call {
        Call::Register(instance) => {
            let command = RegisterInstance {
                service_id: service.to_owned(),
                instance_id: instance.id.clone(),
                attributes: instance.attributes.clone(),
                creator_request_id: None,
            };
            client.register_instance(&command).await?
        }
        Call::Deregister(id) => match client.deregister_instance(service, id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            result => result?,
        },
    };
    client.wait(&operation).await.map(drop)
}
