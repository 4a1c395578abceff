//! Calls to App Mesh.

use super::{Client, Error, transport::Outgoing};
use crate::{
    appmesh::{
        names,
        routing::{Collection, item_path},
    },
    random,
    wire::{Door, door::APP_MESH_PREFIX, percent},
};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tombolo_model::{
    Timestamp,
    appmesh::{Kind, Metadata, ResourceKey, Spec, Tag},
    arn,
};

/// A mesh resource as the server tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its identity.
    pub key: ResourceKey,
    /// Its bookkeeping.
    pub metadata: Metadata,
    /// What was asked for.
    pub spec: Spec,
}

/// A mesh resource as a list tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRef {
    /// Its identity.
    pub key: ResourceKey,
    /// Its ARN.
    pub arn: String,
    /// 1 at creation, plus one for each update.
    pub version: u64,
}

#[derive(Deserialize)]
struct Data {
    metadata: MetadataShape,
    spec: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataShape {
    arn: String,
    created_at: f64,
    last_updated_at: f64,
    mesh_owner: String,
    resource_owner: String,
    uid: String,
    version: u64,
}

impl Client {
    /// Makes a resource.
    pub async fn create(&self, key: &ResourceKey, spec: &Spec) -> Result<Resource, Error> {
        self.create_tagged(key, spec, &[]).await
    }

    /// Makes a resource with tags.
    pub async fn create_tagged(
        &self,
        key: &ResourceKey,
        spec: &Spec,
        tags: &[Tag],
    ) -> Result<Resource, Error> {
        let mut body = mutation(spec);
        body.insert(names::name_member(key.kind).into(), (*key.name).into());
        if !tags.is_empty() {
            body.insert("tags".into(), json!(tags));
        }
        let answer = self
            .mesh_call(Method::PUT, Collection::of(key).path(), Some(body))
            .await?;
        read(key, answer)
    }

    /// A resource; [`Error::is_not_found`] when it does not exist.
    pub async fn describe(&self, key: &ResourceKey) -> Result<Resource, Error> {
        let answer = self.mesh_call(Method::GET, item_path(key), None).await?;
        read(key, answer)
    }

    /// A resource, when it exists.
    pub async fn find(&self, key: &ResourceKey) -> Result<Option<Resource>, Error> {
        match self.describe(key).await {
            Ok(resource) => Ok(Some(resource)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a resource's spec.
    pub async fn update(&self, key: &ResourceKey, spec: &Spec) -> Result<Resource, Error> {
        let answer = self
            .mesh_call(Method::PUT, item_path(key), Some(mutation(spec)))
            .await?;
        read(key, answer)
    }

    /// Removes a resource; answers with it as it was.
    pub async fn delete(&self, key: &ResourceKey) -> Result<Resource, Error> {
        let answer = self.mesh_call(Method::DELETE, item_path(key), None).await?;
        read(key, answer)
    }

    /// All meshes.
    pub async fn list_meshes(&self) -> Result<Vec<ResourceRef>, Error> {
        self.list_collection(&Collection {
            kind: Kind::Mesh,
            mesh: String::new(),
            parent: String::new(),
        })
        .await
    }

    /// All resources of a kind in a mesh. `parent` is the router of routes and the gateway of gateway
    /// routes, and empty for all other kinds.
    pub async fn list(
        &self,
        mesh: &str,
        kind: Kind,
        parent: &str,
    ) -> Result<Vec<ResourceRef>, Error> {
        self.list_collection(&Collection {
            kind,
            mesh: mesh.to_owned(),
            parent: parent.to_owned(),
        })
        .await
    }

    /// A resource's tags.
    pub async fn tags(&self, key: &ResourceKey) -> Result<Vec<Tag>, Error> {
        let arn = self.describe(key).await?.metadata.arn;
        self.tags_of(&arn).await
    }

    /// The tags of the resource of an ARN.
    pub async fn tags_of(&self, arn: &str) -> Result<Vec<Tag>, Error> {
        let arn = percent::encode(arn);
        let path = format!("{APP_MESH_PREFIX}/tags?resourceArn={arn}");
        self.pages(&path, "tags").await
    }

    /// Gives a resource, named by its ARN, tags or other values of them.
    pub async fn tag(&self, arn: &str, tags: &[Tag]) -> Result<(), Error> {
        let path = format!("{APP_MESH_PREFIX}/tag?resourceArn={}", percent::encode(arn));
        let body = Map::from_iter([("tags".into(), json!(tags))]);
        self.mesh_call(Method::PUT, path, Some(body)).await?;
        Ok(())
    }

    /// Takes tags from a resource, which is named by its ARN.
    pub async fn untag(&self, arn: &str, keys: &[String]) -> Result<(), Error> {
        let arn = percent::encode(arn);
        let path = format!("{APP_MESH_PREFIX}/untag?resourceArn={arn}");
        let body = Map::from_iter([("tagKeys".into(), json!(keys))]);
        self.mesh_call(Method::PUT, path, Some(body)).await?;
        Ok(())
    }

    async fn list_collection(&self, collection: &Collection) -> Result<Vec<ResourceRef>, Error> {
        let items: Vec<Value> = self
            .pages(&collection.path(), names::plural(collection.kind))
            .await?;
        let read = |item: Value| {
            let name = item.get(names::name_member(collection.kind))?.as_str()?;
            Some(ResourceRef {
                key: collection.member(name),
                arn: item.get("arn")?.as_str()?.to_owned(),
                version: item.get("version")?.as_u64()?,
            })
        };
        items
            .into_iter()
            .map(|item| {
                read(item).ok_or_else(|| Error::Protocol("a list item lacks its names".into()))
            })
            .collect()
    }

    /// All pages of a list.
    async fn pages<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        member: &str,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut target = path.to_owned();
        loop {
            let mut page = self.mesh_call(Method::GET, target, None).await?;
            let items = page.get_mut(member).map(Value::take).unwrap_or_default();
            let items: Vec<T> = serde_json::from_value(items)
                .map_err(|error| Error::Protocol(error.to_string()))?;
            all.extend(items);
            let Some(token) = page.get("nextToken").and_then(Value::as_str) else {
                return Ok(all);
            };
            let joint = if path.contains('?') { '&' } else { '?' };
            target = format!("{path}{joint}nextToken={}", percent::encode(token));
        }
    }

    async fn mesh_call(
        &self,
        method: Method,
        target: String,
        body: Option<Map<String, Value>>,
    ) -> Result<Value, Error> {
        let call = Outgoing {
            door: Some(Door::AppMesh),
            method,
            target,
            operation: None,
            body: body.map_or_else(Vec::new, |body| Value::Object(body).to_string().into()),
        };
        let answer = self.transport.send(&call).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::Protocol(error.to_string()))
    }
}

/// The body of a creation or an update. The token makes a retry of the same call harmless.
fn mutation(spec: &Spec) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("clientToken".into(), random::uuid().into());
    body.insert("spec".into(), spec.to_json());
    body
}

fn read(key: &ResourceKey, answer: Value) -> Result<Resource, Error> {
    let protocol = |error: serde_json::Error| Error::Protocol(error.to_string());
    let data: Data = serde_json::from_value(answer).map_err(protocol)?;
    let metadata = data.metadata;
    if arn::parse_resource(&metadata.arn).is_none_or(|name| name.key != *key) {
        let message = format!("asked for {key}, answered with {}", metadata.arn);
        return Err(Error::Protocol(message));
    }
    Ok(Resource {
        key: key.clone(),
        metadata: Metadata {
            arn: metadata.arn,
            uid: metadata.uid,
            version: metadata.version,
            created_at: timestamp(metadata.created_at),
            last_updated_at: timestamp(metadata.last_updated_at),
            mesh_owner: metadata.mesh_owner.into(),
            resource_owner: metadata.resource_owner.into(),
        },
        spec: Spec::from_json(key.kind, data.spec).map_err(protocol)?,
    })
}

pub(super) fn timestamp(epoch_seconds: f64) -> Timestamp {
    // The cast saturates: a date before 1970 becomes 1970.
    Timestamp((epoch_seconds * 1000.0).round() as u64)
}
