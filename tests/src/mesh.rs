//! Applies manifests to a store in this process: reads, admits, converts and commits them, as a controller does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};
use tombolo_kube::{
    admit::{self, IpFamily},
    cluster::ClusterObjects,
    convert::{ConvertError, Item, TargetProblem, convert},
    crd::{Kind as CrdKind, Resource as CrdResource},
    manifest::{Located, Object, Options, Source, read},
};
use tombolo_model::{
    Command, Reason, Scope,
    apply::{
        appmesh,
        cloudmap::{self, CreateNamespace, CreateService, RegisterInstance},
    },
    appmesh::{Kind, ResourceKey, Spec, spec::virtual_node::ServiceDiscovery},
    cloudmap::NamespaceType,
};
use tombolo_store::{CommitError, Store};

/// A cluster to which manifests are applied, and the store with its resources.
pub struct Mesh {
    store: Store,
    scope: Scope,
    objects: ClusterObjects,
    made: u32,
}

impl Mesh {
    /// An empty cluster.
    pub fn new(store: Store, scope: Scope) -> Self {
        Self {
            store,
            scope,
            objects: ClusterObjects::default(),
            made: 0,
        }
    }

    /// Applies a manifest and commits the resulting resources; the dangling references.
    ///
    /// # Panics
    ///
    /// When the manifest is rejected.
    pub async fn apply(&mut self, path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).expect("a readable file");
        self.apply_text(crate::corpus::file_name(path), text).await
    }

    /// As [`Mesh::apply`], with the text of the manifest.
    pub async fn apply_text(
        &mut self,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Vec<String> {
        let (name, text) = (name.into(), text.into());
        let manifests = read(&[Source::new(name, text)], &Options::default());
        let manifests = manifests.unwrap_or_else(|problems| panic!("{problems}"));
        for located in manifests.into_apply_order() {
            self.put(&located);
        }
        let dangling = self.commit().await;
        self.register().await;
        dangling
    }

    /// All workloads: the existing virtual nodes and virtual gateways.
    pub fn workloads(&self) -> Vec<ResourceKey> {
        let view = self.store.view();
        let Some(scope) = view.scope(&self.scope) else {
            return Vec::new();
        };
        let of_kind = |mesh, kind| {
            let members = scope.members(mesh, kind, None);
            members.map(|member| member.key.clone())
        };
        let workloads = scope.meshes().flat_map(|mesh| {
            let mesh = &mesh.key.name;
            of_kind(mesh, Kind::VirtualNode).chain(of_kind(mesh, Kind::VirtualGateway))
        });
        workloads.collect()
    }

    fn put(&mut self, located: &Located<Object>) {
        match &located.object {
            Object::Namespace(namespace) => {
                let labels = namespace.metadata.labels.clone().unwrap_or_default();
                self.objects.put_namespace(located.object.name(), labels);
            }
            Object::Mesh(resource) => {
                self.label_namespace(located.object.namespace().unwrap_or_default());
                let admitted = self.admit(resource.as_ref().clone());
                let admitted = admitted
                    .unwrap_or_else(|violations| panic!("{}: {violations}", located.title()));
                self.objects.put(admitted);
            }
            _ => {}
        }
    }

    fn admit(
        &mut self,
        mut resource: CrdResource,
    ) -> Result<CrdResource, tombolo_kube::Violations> {
        let old = self
            .objects
            .get(resource.kind(), resource.namespace(), resource.name());
        if let Some(old) = old {
            resource.metadata_mut().uid.clone_from(&old.metadata().uid);
            return admit::update(old, resource, IpFamily::V4);
        }
        self.made += 1;
        resource.metadata_mut().uid = Some(format!("uid-{}", self.made));
        admit::create(resource, &self.objects, IpFamily::V4)
    }

    /// Some walkthroughs label the namespace of their mesh objects by hand.
    fn label_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() || self.objects.namespace(namespace).is_some() {
            return;
        }
        let selectors = self
            .objects
            .meshes()
            .filter_map(|mesh| mesh.spec.namespace_selector.as_ref());
        let labels: BTreeMap<String, String> = selectors
            .flat_map(|selector| selector.match_labels.clone().unwrap_or_default())
            .collect();
        self.objects.put_namespace(namespace, labels);
    }

    /// Reconciles the store with the objects; the dangling references.
    async fn commit(&self) -> Vec<String> {
        let (mut items, mut dangling) = (Vec::new(), Vec::new());
        for resource in CrdKind::ALL
            .into_iter()
            .flat_map(|kind| self.objects.all(kind))
        {
            match convert(resource, &self.objects) {
                Ok(Some(converted)) => {
                    items.push(converted.resource);
                    items.extend(converted.routes);
                }
                Ok(None) => {}
                Err(ConvertError::Reference(error)) if error.problem == TargetProblem::Missing => {
                    dangling.push(format!("{} {}: {error}", resource.kind(), resource.name()));
                }
                Err(error) => panic!("{} {}: {error}", resource.kind(), resource.name()),
            }
        }
        self.delete_routes_but(&items).await;
        // A resource may need a later one of the list: repeat while that makes progress.
        while !items.is_empty() {
            let (mut waiting, before) = (Vec::new(), items.len());
            let mut refused = Vec::new();
            for item in items {
                if let Err(error) = self.commit_item(&item).await {
                    refused.push(format!("{}: {error}", item.key));
                    waiting.push(item);
                }
            }
            assert!(
                waiting.len() < before,
                "the model refuses what was converted: {refused:#?}"
            );
            items = waiting;
        }
        dangling
    }

    async fn delete_routes_but(&self, wanted: &[Item]) {
        let wanted: BTreeSet<&ResourceKey> = wanted.iter().map(|item| &item.key).collect();
        let view = self.store.view();
        let Some(scope) = view.scope(&self.scope) else {
            return;
        };
        for mesh in scope.meshes() {
            for route in scope.members(&mesh.key.name, Kind::Route, None) {
                if !wanted.contains(&route.key) {
                    let command = appmesh::Command::Delete {
                        key: route.key.clone(),
                    };
                    self.run(Command::AppMesh(command))
                        .await
                        .expect("nothing refers to a route");
                }
            }
        }
    }

    async fn commit_item(&self, item: &Item) -> Result<(), CommitError> {
        let view = self.store.view();
        let (key, spec) = (item.key.clone(), item.spec.clone());
        let command = match view.resource(&self.scope, &key) {
            Some(existing) if existing.spec == spec => return Ok(()),
            Some(_) => appmesh::Command::Update {
                key,
                spec,
                client_token: None,
            },
            None => appmesh::Command::Create {
                key,
                spec,
                tags: Vec::new(),
                client_token: None,
            },
        };
        self.run(Command::AppMesh(command)).await
    }

    async fn run(&self, command: Command) -> Result<(), CommitError> {
        self.store
            .commit(self.scope.clone(), command)
            .await
            .map(drop)
    }

    /// Registers two instances of each node with Cloud Map discovery.
    async fn register(&self) {
        for key in self.workloads() {
            let view = self.store.view();
            let workload = view.resource(&self.scope, &key).expect("just listed");
            let Spec::VirtualNode(spec) = &workload.spec else {
                continue;
            };
            let Some(ServiceDiscovery::AwsCloudMap(discovery)) = &spec.service_discovery else {
                continue;
            };
            let service_id = self
                .service(&discovery.namespace_name, &discovery.service_name)
                .await;
            for i in 1..=2 {
                let mut attributes: BTreeMap<String, String> = discovery
                    .attributes
                    .iter()
                    .flatten()
                    .map(|attribute| (attribute.key.clone(), attribute.value.clone()))
                    .collect();
                attributes.insert("AWS_INSTANCE_IPV4".into(), format!("10.99.0.{i}"));
                let register = cloudmap::Command::RegisterInstance(RegisterInstance {
                    service_id: service_id.to_string(),
                    instance_id: format!("{}-{i}", key.name.chars().take(50).collect::<String>()),
                    attributes,
                    creator_request_id: None,
                });
                self.run(Command::CloudMap(register))
                    .await
                    .expect("a legal instance");
            }
        }
    }

    /// The id of a service, which is created with its namespace where missing.
    async fn service(&self, namespace: &str, service: &str) -> Arc<str> {
        let find = || {
            let view = self.store.view();
            let scope = view.scope(&self.scope)?;
            let namespace_id = scope.namespace_by_name(namespace)?.id.clone();
            let found = scope
                .service_by_name(&namespace_id, service)
                .map(|service| service.id.clone());
            Some((namespace_id, found))
        };
        if find().is_none() {
            let create = cloudmap::Command::CreateNamespace(CreateNamespace {
                name: namespace.into(),
                kind: NamespaceType::HTTP,
                vpc: None,
                description: None,
                soa_ttl: None,
                creator_request_id: None,
                tags: Vec::new(),
            });
            self.run(Command::CloudMap(create))
                .await
                .expect("a legal namespace");
        }
        let (namespace_id, found) = find().expect("made just now");
        if let Some(id) = found {
            return id;
        }
        let create = cloudmap::Command::CreateService(CreateService {
            name: service.into(),
            namespace_id: namespace_id.to_string(),
            description: None,
            dns_config: None,
            health_check: None,
            custom_health_check: true,
            http_only: false,
            creator_request_id: None,
            tags: Vec::new(),
        });
        match self.run(Command::CloudMap(create)).await {
            Ok(()) => {}
            Err(CommitError::Rejected(r)) if matches!(r.reason, Reason::ServiceExists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        find().and_then(|(_, found)| found).expect("made just now")
    }
}
