//! The APIs over [`tombolo_api::client::Client`].

use std::collections::BTreeMap;

use tombolo_api::client::{self, Client, Error};
use tombolo_kube::register::Instance;
use tombolo_model::apply::cloudmap::{CreateService, RegisterInstance};
use tombolo_model::appmesh::{Kind, Metadata, ResourceKey, Spec, Tag};

use super::{
    ApiError, DescribedResource, ListedResource, MeshApi, Namespace, RegistryApi, Service, Version,
};
use crate::OWNER_TAG;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        if error.is_transient() {
            Self::Unreachable(error.into())
        } else if error.is_not_found() {
            Self::NotFound(error.into())
        } else if error.is_conflict() {
            Self::Exists(error.into())
        } else if error.is_in_use() {
            Self::InUse(error.into())
        } else if error.is_denied() {
            Self::Denied(error.into())
        } else {
            Self::Refused(error.into())
        }
    }
}

fn version(metadata: &Metadata) -> Version {
    Version {
        number: metadata.version,
        updated: metadata.last_updated_at,
    }
}

fn found(resource: client::Resource) -> DescribedResource {
    DescribedResource {
        version: version(&resource.metadata),
        arn: resource.metadata.arn,
        spec: resource.spec,
    }
}

fn listed(resources: Vec<client::ResourceRef>) -> Vec<ListedResource> {
    let listed = resources.into_iter().map(|resource| ListedResource {
        key: resource.key,
        arn: resource.arn,
        version: Version {
            number: resource.version,
            updated: resource.last_updated_at,
        },
    });
    listed.collect()
}

/// The result of a deletion; a resource that does not exist counts as deleted.
fn deleted<T>(result: Result<T, Error>) -> Result<(), ApiError> {
    match result {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

fn owner(tags: Vec<Tag>) -> Option<String> {
    let mut tags = tags.into_iter();
    tags.find(|tag| tag.key == OWNER_TAG).map(|tag| tag.value)
}

impl MeshApi for Client {
    async fn describe(&self, key: &ResourceKey) -> Result<Option<DescribedResource>, ApiError> {
        Ok(self.find(key).await?.map(found))
    }

    async fn create(
        &self,
        key: &ResourceKey,
        spec: &Spec,
        owner: &str,
    ) -> Result<DescribedResource, ApiError> {
        let tag = Tag {
            key: OWNER_TAG.to_owned(),
            value: owner.to_owned(),
        };
        Ok(found(self.create_tagged(key, spec, &[tag]).await?))
    }

    async fn update(&self, key: &ResourceKey, spec: &Spec) -> Result<DescribedResource, ApiError> {
        Ok(found(Client::update(self, key, spec).await?))
    }

    async fn delete(&self, key: &ResourceKey) -> Result<(), ApiError> {
        deleted(Client::delete(self, key).await)
    }

    async fn owner(&self, arn: &str) -> Result<Option<String>, ApiError> {
        Ok(owner(self.tags_of(arn).await?))
    }

    async fn list_meshes(&self) -> Result<Vec<ListedResource>, ApiError> {
        Ok(listed(Client::list_meshes(self).await?))
    }

    async fn list(
        &self,
        mesh: &str,
        kind: Kind,
        parent: &str,
    ) -> Result<Vec<ListedResource>, ApiError> {
        Ok(listed(Client::list(self, mesh, kind, parent).await?))
    }
}

fn service(service: client::Service) -> Service {
    Service {
        id: service.id,
        arn: service.arn,
        name: service.name,
        instances: service.instance_count,
    }
}

impl RegistryApi for Client {
    async fn list_namespaces(&self) -> Result<Vec<Namespace>, ApiError> {
        let namespaces = Client::list_namespaces(self).await?.into_iter();
        let namespaces = namespaces.map(|namespace| Namespace {
            id: namespace.id,
            name: namespace.name,
            kind: namespace.kind,
        });
        Ok(namespaces.collect())
    }

    async fn create_namespace(&self, name: &str, vpc: &str) -> Result<(), ApiError> {
        let operation = self.create_private_dns_namespace(name, vpc).await?;
        self.wait(&operation).await?;
        Ok(())
    }

    async fn list_services(&self, namespace_id: &str) -> Result<Vec<Service>, ApiError> {
        let services = Client::list_services(self, namespace_id).await?;
        Ok(services.into_iter().map(service).collect())
    }

    async fn find_service(
        &self,
        namespace_id: &str,
        name: &str,
    ) -> Result<Option<Service>, ApiError> {
        let found = Client::find_service(self, namespace_id, name).await?;
        Ok(found.map(service))
    }

    async fn create_service(&self, create: &CreateService) -> Result<Service, ApiError> {
        Ok(service(Client::create_service(self, create).await?))
    }

    async fn delete_service(&self, id: &str) -> Result<(), ApiError> {
        deleted(Client::delete_service(self, id).await)
    }

    async fn service_owner(&self, arn: &str) -> Result<Option<String>, ApiError> {
        Ok(owner(self.registry_tags(arn).await?))
    }

    async fn list_instances(
        &self,
        service_id: &str,
    ) -> Result<BTreeMap<String, Instance>, ApiError> {
        let instances = Client::list_instances(self, service_id).await?.into_iter();
        let instances = instances.map(|instance| {
            let client::Instance { id, attributes } = instance;
            (id.clone(), Instance { id, attributes })
        });
        Ok(instances.collect())
    }

    async fn register(&self, service_id: &str, instance: &Instance) -> Result<(), ApiError> {
        let command = RegisterInstance {
            service_id: service_id.to_owned(),
            instance_id: instance.id.clone(),
            attributes: instance.attributes.clone(),
            creator_request_id: None,
        };
        let operation = self.register_instance(&command).await?;
        self.wait(&operation).await?;
        Ok(())
    }

    async fn deregister(&self, service_id: &str, instance_id: &str) -> Result<(), ApiError> {
        match self.deregister_instance(service_id, instance_id).await {
            Ok(operation) => Ok(self.wait(&operation).await.map(drop)?),
            Err(error) => deleted::<()>(Err(error)),
        }
    }
}
