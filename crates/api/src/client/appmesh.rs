//! Calls of App Mesh.

use super::{Client, Error, Pages, transport::Outgoing};
use crate::{
    appmesh::{
        Collection, Operation, Page, names,
        output::{self, ResourceData},
    },
    random,
    service::Service,
    wire::Protocol,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tombolo_model::{
    Timestamp,
    appmesh::{Kind, Metadata, ResourceKey, Spec, Tag},
    arn,
};

/// A mesh resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The identity.
    pub key: ResourceKey,
    /// ARN, version, times, owners.
    pub metadata: Metadata,
    /// The spec as it was sent.
    pub spec: Spec,
}

/// A mesh resource in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRef {
    /// The identity.
    pub key: ResourceKey,
    /// The ARN.
    pub arn: String,
    /// The version: 1 at creation, plus one for each update.
    pub version: u64,
    /// The time of the last update.
    pub last_updated_at: Timestamp,
}

impl Client {
    /// Creates a resource.
    pub async fn create(&self, key: &ResourceKey, spec: &Spec) -> Result<Resource, Error> {
        self.create_tagged(key, spec, &[]).await
    }

    /// Creates a resource with tags.
    pub async fn create_tagged(
        &self,
        key: &ResourceKey,
        spec: &Spec,
        tags: &[Tag],
    ) -> Result<Resource, Error> {
        let create = Operation::Create {
            key: key.clone(),
            spec: Box::new(spec.clone()),
            tags: tags.to_vec(),
            client_token: Some(random::uuid()),
        };
        read(key, self.app_mesh(&create).await?)
    }

    /// A resource; [`Error::is_not_found`] when it does not exist.
    pub async fn describe(&self, key: &ResourceKey) -> Result<Resource, Error> {
        read(key, self.app_mesh(&Operation::Describe(key.clone())).await?)
    }

    /// A resource; `None` if it does not exist.
    pub async fn find(&self, key: &ResourceKey) -> Result<Option<Resource>, Error> {
        match self.describe(key).await {
            Ok(resource) => Ok(Some(resource)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a resource's spec.
    pub async fn update(&self, key: &ResourceKey, spec: &Spec) -> Result<Resource, Error> {
        let update = Operation::Update {
            key: key.clone(),
            spec: Box::new(spec.clone()),
            client_token: Some(random::uuid()),
        };
        read(key, self.app_mesh(&update).await?)
    }

    /// Deletes a resource; returns its last state.
    pub async fn delete(&self, key: &ResourceKey) -> Result<Resource, Error> {
        read(key, self.app_mesh(&Operation::Delete(key.clone())).await?)
    }

    /// All meshes.
    pub async fn list_meshes(&self) -> Result<Vec<ResourceRef>, Error> {
        self.list("", Kind::Mesh, "").await
    }

    /// All resources of a kind in a mesh. `parent` is the router of routes and the gateway of gateway
    /// routes, and empty for all other kinds.
    pub async fn list(
        &self,
        mesh: &str,
        kind: Kind,
        parent: &str,
    ) -> Result<Vec<ResourceRef>, Error> {
        let collection = Collection {
            kind,
            mesh: mesh.to_owned(),
            parent: parent.to_owned(),
        };
        let list = |page| Operation::List {
            collection: collection.clone(),
            page,
        };
        let items = self.app_mesh_pages(names::plural(kind), list).await?;
        let read = |item: output::ResourceRef| {
            Some(ResourceRef {
                key: collection.member(item.name(kind)?),
                arn: item.arn,
                version: item.version,
                last_updated_at: item.last_updated_at,
            })
        };
        let nameless = || Error::Protocol("a list item lacks its name".into());
        let items = items
            .into_iter()
            .map(|item| read(item).ok_or_else(nameless));
        items.collect()
    }

    /// A resource's tags.
    pub async fn tags(&self, key: &ResourceKey) -> Result<Vec<Tag>, Error> {
        let arn = self.describe(key).await?.metadata.arn;
        self.tags_of(&arn).await
    }

    /// The tags of the resource of an ARN.
    pub async fn tags_of(&self, arn: &str) -> Result<Vec<Tag>, Error> {
        let list = |page| Operation::ListTagsForResource {
            resource_arn: arn.to_owned(),
            page,
        };
        self.app_mesh_pages("tags", list).await
    }

    /// Adds tags to the resource of an ARN, or overwrites their values.
    pub async fn tag(&self, arn: &str, tags: &[Tag]) -> Result<(), Error> {
        let tag = Operation::TagResource {
            resource_arn: arn.to_owned(),
            tags: tags.to_vec(),
        };
        self.app_mesh::<Value>(&tag).await.map(drop)
    }

    /// Removes tags from the resource of an ARN.
    pub async fn untag(&self, arn: &str, keys: &[String]) -> Result<(), Error> {
        let untag = Operation::UntagResource {
            resource_arn: arn.to_owned(),
            tag_keys: keys.to_vec(),
        };
        self.app_mesh::<Value>(&untag).await.map(drop)
    }

    /// The items of all pages of a list, which are in `member`.
    async fn app_mesh_pages<T: DeserializeOwned>(
        &self,
        member: &str,
        list: impl Fn(Page) -> Operation,
    ) -> Result<Vec<T>, Error> {
        let (mut all, mut pages) = (Vec::new(), Pages::default());
        while let Some(next_token) = pages.next() {
            let page = Page {
                limit: None,
                next_token,
            };
            let mut answer: Value = self.app_mesh(&list(page)).await?;
            let items = answer.get_mut(member).map(Value::take).unwrap_or_default();
            let items: Vec<T> = serde_json::from_value(items)?;
            all.extend(items);
            let next = answer.get("nextToken").and_then(Value::as_str);
            pages.advance(next.map(str::to_owned))?;
        }
        Ok(all)
    }

    async fn app_mesh<T: DeserializeOwned>(&self, operation: &Operation) -> Result<T, Error> {
        let (method, target, body) = operation.write();
        let call = Outgoing {
            service: Service::AppMesh.signing_name(),
            content_type: Protocol::RestJson.request_type(),
            method,
            target,
            operation: None,
            body: body.map_or_else(Bytes::new, |body| body.to_string().into()),
        };
        Ok(serde_json::from_slice(&self.transport.send(&call).await?)?)
    }
}

fn read(key: &ResourceKey, answer: ResourceData) -> Result<Resource, Error> {
    let metadata = answer.metadata;
    if arn::parse_resource(&metadata.arn).is_none_or(|name| name.key != *key) {
        let message = format!("asked for {key}, answered with {}", metadata.arn);
        return Err(Error::Protocol(message));
    }
    Ok(Resource {
        key: key.clone(),
        metadata,
        spec: Spec::from_json(key.kind, answer.spec)?,
    })
}
