//! Lookup of resources on a server by name.

use super::{
    filter::Filter,
    id::Id,
    kind::Kind,
    view::{Details, ResourceView, by_key},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::Mutex;
use tombolo_api::client::{Client, Error, Instance, Namespace, Resource, Service};
use tombolo_model::appmesh::{self, ResourceKey};

/// Maximum calls in flight.
const MAX_IN_FLIGHT: usize = 16;

type Result<T> = std::result::Result<T, Error>;

/// A client that caches the ids of names.
pub(crate) struct Lookup {
    pub(crate) client: Client,
    namespaces: Mutex<Option<Arc<Vec<Namespace>>>>,
    services: Mutex<HashMap<String, Arc<Vec<Service>>>>,
}

impl Lookup {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            namespaces: Mutex::default(),
            services: Mutex::default(),
        }
    }

    /// One resource; `None` when it does not exist.
    pub(crate) async fn find(&self, id: &Id) -> Result<Option<ResourceView>> {
        match id {
            Id::Mesh(key) => self.mesh_resource(key).await,
            Id::Namespace { name } => match self.namespace(name).await? {
                Some(namespace) => self.of_namespace(namespace).await.map(Some),
                None => Ok(None),
            },
            Id::Service { namespace, name } => match self.service(namespace, name).await? {
                Some(service) => self.of_service(namespace, service).await.map(Some),
                None => Ok(None),
            },
            Id::Instance {
                namespace,
                service,
                name,
            } => {
                let Some(service) = self.service(namespace, service).await? else {
                    return Ok(None);
                };
                self.instance_named(namespace, &service, name).await
            }
        }
    }

    /// The resources of `ids`, in the same order.
    pub(crate) async fn find_all(&self, ids: &[Id]) -> Result<Vec<Option<ResourceView>>> {
        at_once(ids, |id| self.find(id)).await
    }

    /// All resources of a kind, or those that a word matches, sorted by path.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        filter: &Filter,
        word: Option<&str>,
    ) -> Result<Vec<ResourceView>> {
        if filter.excludes(kind) {
            return Ok(Vec::new());
        }
        let mut found = match kind {
            Kind::Namespace => self.list_namespaces(filter, word).await?,
            Kind::Service => self.list_services(filter, word).await?,
            Kind::Instance => self.list_instances(filter, word).await?,
            Kind::Mesh(kind) => self.list_mesh(kind, filter, word).await?,
        };
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// The routes of a router, or the gateway routes of a gateway.
    pub(crate) async fn members_of(
        &self,
        mesh: &str,
        kind: appmesh::Kind,
        parent: &str,
    ) -> Result<Vec<ResourceView>> {
        let parent = Some(parent.to_owned());
        let filter = Filter {
            mesh: Some(mesh.to_owned()),
            router: parent.clone().filter(|_| kind == appmesh::Kind::Route),
            gateway: parent.filter(|_| kind == appmesh::Kind::GatewayRoute),
            ..Filter::default()
        };
        self.list(Kind::Mesh(kind), &filter, None).await
    }

    /// The number of resources of a kind in a mesh.
    pub(crate) async fn count(&self, mesh: &str, kind: appmesh::Kind) -> Result<usize> {
        let mut count = 0;
        for parent in self.parents(mesh, kind, &Filter::default()).await? {
            count += found_or_default(self.client.list(mesh, kind, &parent).await)?.len();
        }
        Ok(count)
    }

    async fn mesh_resource(&self, key: &ResourceKey) -> Result<Option<ResourceView>> {
        let Some(resource) = self.client.find(key).await? else {
            return Ok(None);
        };
        self.of_mesh(resource).await
    }

    async fn of_mesh(&self, resource: Resource) -> Result<Option<ResourceView>> {
        match self.client.tags_of(&resource.metadata.arn).await {
            Ok(tags) => Ok(Some(ResourceView {
                id: Id::Mesh(resource.key.clone()),
                tags: by_key(tags),
                details: Details::Mesh(Box::new(resource)),
            })),
            // Deleted meanwhile.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list_mesh(
        &self,
        kind: appmesh::Kind,
        filter: &Filter,
        word: Option<&str>,
    ) -> Result<Vec<ResourceView>> {
        let meshes = match &filter.mesh {
            Some(name) => vec![ResourceKey::mesh(name.as_str())],
            None => {
                let listed = self.client.list_meshes().await?.into_iter();
                listed.map(|mesh| mesh.key).collect()
            }
        };
        let mut keys = Vec::new();
        for mesh in meshes {
            if kind == appmesh::Kind::Mesh {
                keys.push(mesh);
                continue;
            }
            for parent in self.parents(&mesh.name, kind, filter).await? {
                let listed = found_or_default(self.client.list(&mesh.name, kind, &parent).await)?;
                keys.extend(listed.into_iter().map(|one| one.key));
            }
        }
        keys.retain(|key| word.is_none_or(|word| Id::Mesh(key.clone()).matches_name(word)));
        let found = at_once(&keys, |key| self.mesh_resource(key)).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The routers or gateways whose routes are listed; one nameless parent for direct children of the mesh.
    async fn parents(
        &self,
        mesh: &str,
        kind: appmesh::Kind,
        filter: &Filter,
    ) -> Result<Vec<String>> {
        let (parent, desired) = match kind.parent() {
            None => return Ok(vec![String::new()]),
            Some(appmesh::Kind::VirtualRouter) => (appmesh::Kind::VirtualRouter, &filter.router),
            Some(parent) => (parent, &filter.gateway),
        };
        if let Some(desired) = desired {
            return Ok(vec![desired.clone()]);
        }
        let listed = found_or_default(self.client.list(mesh, parent, "").await)?;
        let names = listed.into_iter().map(|one| one.key.name.to_string());
        Ok(names.collect())
    }

    pub(crate) async fn namespaces(&self) -> Result<Arc<Vec<Namespace>>> {
        let mut known = self.namespaces.lock().await;
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let listed = Arc::new(self.client.list_namespaces().await?);
        *known = Some(listed.clone());
        Ok(listed)
    }

    pub(crate) async fn services(&self, namespace_id: &str) -> Result<Arc<Vec<Service>>> {
        let mut known = self.services.lock().await;
        if let Some(known) = known.get(namespace_id) {
            return Ok(known.clone());
        }
        let listed = Arc::new(self.client.list_services(namespace_id).await?);
        known.insert(namespace_id.to_owned(), listed.clone());
        Ok(listed)
    }

    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        let namespaces = self.namespaces().await?;
        let named = namespaces.iter().find(|namespace| namespace.name == name);
        Ok(named.cloned())
    }

    pub(crate) async fn service(&self, namespace: &str, name: &str) -> Result<Option<Service>> {
        let Some(namespace) = self.namespace(namespace).await? else {
            return Ok(None);
        };
        let services = self.services(&namespace.id).await?;
        Ok(services
            .iter()
            .find(|service| service.name == name)
            .cloned())
    }

    async fn of_namespace(&self, namespace: Namespace) -> Result<ResourceView> {
        let tags = found_or_default(self.client.registry_tags(&namespace.arn).await)?;
        Ok(ResourceView {
            id: Id::Namespace {
                name: namespace.name.clone(),
            },
            tags: by_key(tags),
            details: Details::Namespace(namespace),
        })
    }

    async fn of_service(&self, namespace: &str, service: Service) -> Result<ResourceView> {
        let tags = found_or_default(self.client.registry_tags(&service.arn).await)?;
        let attributes = found_or_default(self.client.service_attributes(&service.id).await)?;
        Ok(ResourceView {
            id: Id::Service {
                namespace: namespace.to_owned(),
                name: service.name.clone(),
            },
            tags: by_key(tags),
            details: Details::Service {
                service,
                attributes,
            },
        })
    }

    async fn list_namespaces(
        &self,
        filter: &Filter,
        word: Option<&str>,
    ) -> Result<Vec<ResourceView>> {
        let mut namespaces = self.filtered_namespaces(filter).await?;
        namespaces.retain(|namespace| word.is_none_or(|word| word == namespace.name));
        at_once(namespaces, |namespace| self.of_namespace(namespace)).await
    }

    async fn filtered_namespaces(&self, filter: &Filter) -> Result<Vec<Namespace>> {
        let mut namespaces = Vec::clone(&*self.namespaces().await?);
        namespaces.retain(|namespace| {
            (filter.namespace.as_deref()).is_none_or(|desired| desired == namespace.name)
        });
        Ok(namespaces)
    }

    async fn list_services(
        &self,
        filter: &Filter,
        word: Option<&str>,
    ) -> Result<Vec<ResourceView>> {
        let mut services = self.filtered_services(filter).await?;
        services.retain(|(namespace, service)| {
            let id = Id::Service {
                namespace: namespace.clone(),
                name: service.name.clone(),
            };
            word.is_none_or(|word| id.matches_name(word))
        });
        at_once(services, |(namespace, service)| async move {
            self.of_service(&namespace, service).await
        })
        .await
    }

    /// Services with the names of their namespaces.
    async fn filtered_services(&self, filter: &Filter) -> Result<Vec<(String, Service)>> {
        let mut desired = Vec::new();
        for namespace in self.filtered_namespaces(filter).await? {
            let services = self.services(&namespace.id).await?;
            let of_name = services.iter().filter(|service| {
                (filter.service.as_deref()).is_none_or(|desired| desired == service.name)
            });
            desired.extend(of_name.map(|service| (namespace.name.clone(), service.clone())));
        }
        Ok(desired)
    }

    async fn list_instances(
        &self,
        filter: &Filter,
        word: Option<&str>,
    ) -> Result<Vec<ResourceView>> {
        let services = self.filtered_services(filter).await?;
        let lists = at_once(services, |(namespace, service)| async move {
            match word {
                Some(word) => self.instances_named(&namespace, &service, word).await,
                None => self.instances(&namespace, &service).await,
            }
        });
        Ok(lists.await?.into_iter().flatten().collect())
    }

    /// All instances of a service with their health.
    pub(crate) async fn instances(
        &self,
        namespace: &str,
        service: &Service,
    ) -> Result<Vec<ResourceView>> {
        let instances = found_or_default(self.client.list_instances(&service.id).await)?;
        if instances.is_empty() {
            return Ok(Vec::new());
        }
        let health = found_or_default(self.client.instances_health(&service.id).await)?;
        let found = instances.into_iter().map(|instance| {
            let health = health.get(&instance.id).cloned();
            of_instance(namespace, service, instance, health)
        });
        Ok(found.collect())
    }

    /// The instance of a word: an id, or a path that ends with one.
    async fn instances_named(
        &self,
        namespace: &str,
        service: &Service,
        word: &str,
    ) -> Result<Vec<ResourceView>> {
        let path = format!("{namespace}/{}/", service.name);
        let starts = word.match_indices('/').map(|(at, _)| at + 1);
        let names: Vec<&str> = std::iter::once(0)
            .chain(starts)
            .map(|start| word.split_at(start))
            .filter(|(before, name)| {
                let is_end = before.is_empty() || path == *before;
                let is_end = is_end
                    || path
                        .strip_suffix(before)
                        .is_some_and(|it| it.ends_with('/'));
                is_end && !name.is_empty()
            })
            .map(|(_, name)| name)
            .collect();
        let mut found = Vec::new();
        for name in names {
            found.extend(self.instance_named(namespace, service, name).await?);
        }
        Ok(found)
    }

    async fn instance_named(
        &self,
        namespace: &str,
        service: &Service,
        name: &str,
    ) -> Result<Option<ResourceView>> {
        let instance = match self.client.get_instance(&service.id, name).await {
            Err(error) if error.is_not_found() => return Ok(None),
            // A word that is not a valid id matches no instance.
            Err(error) if error.code() == Some("InvalidInput") => return Ok(None),
            instance => instance?,
        };
        let health = self.client.instance_health(&service.id, name).await?;
        Ok(Some(of_instance(namespace, service, instance, health)))
    }
}

fn of_instance(
    namespace: &str,
    service: &Service,
    instance: Instance,
    health: Option<String>,
) -> ResourceView {
    ResourceView {
        id: Id::Instance {
            namespace: namespace.to_owned(),
            service: service.name.clone(),
            name: instance.id.clone(),
        },
        tags: BTreeMap::new(),
        details: Details::Instance {
            service_id: service.id.clone(),
            instance,
            health: health.unwrap_or_else(|| "UNKNOWN".into()),
        },
    }
}

/// The default when the container was deleted meanwhile.
fn found_or_default<T: Default>(answer: Result<T>) -> Result<T> {
    match answer {
        Err(error) if error.is_not_found() => Ok(T::default()),
        answer => answer,
    }
}

/// Makes a call for each item, at most [`MAX_IN_FLIGHT`] in flight; the results are in the order of the items.
pub(crate) async fn at_once<I, T, E, F>(
    items: impl IntoIterator<Item = I>,
    call: impl Fn(I) -> F,
) -> std::result::Result<Vec<T>, E>
where
    F: Future<Output = std::result::Result<T, E>>,
{
    let calls = stream::iter(items).map(call).buffered(MAX_IN_FLIGHT);
    calls.try_collect().await
}
