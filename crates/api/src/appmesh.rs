//! App Mesh: REST with JSON (facts/appmesh-api.md §1-§4).
//!
//! The seven kinds have the same five operations, so an operation is a verb and a kind: see [`Operation`]. The server
//! parses a [`Request`] from method, path, query and body; the client writes it into them.

mod errors;
pub(crate) mod names;
pub(crate) mod output;
mod path;
mod resource;

pub(crate) use path::Collection;

use crate::{
    call::Call,
    error::ApiError,
    operation::ANY,
    service::APP_MESH_PREFIX,
    wire::{json, percent},
};
use errors::bad_request;
use http::{Method, StatusCode, request::Parts};
use path::{Target, Verb};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use tombolo_model::{
    Scope,
    appmesh::{Kind, ResourceKey, Spec, Tag},
    arn,
};

/// The error code of invalid input.
const BAD_REQUEST: &str = "BadRequestException";

/// A call of App Mesh.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// The account that owns the mesh, if the caller gives it.
    pub(crate) mesh_owner: Option<String>,
    pub(crate) operation: Operation,
}

/// One of the 38 operations, with its input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Create {
        key: ResourceKey,
        spec: Box<Spec>,
        tags: Vec<Tag>,
        client_token: Option<String>,
    },
    Describe(ResourceKey),
    Update {
        key: ResourceKey,
        spec: Box<Spec>,
        client_token: Option<String>,
    },
    Delete(ResourceKey),
    List {
        collection: Collection,
        page: Page,
    },
    TagResource {
        resource_arn: String,
        tags: Vec<Tag>,
    },
    UntagResource {
        resource_arn: String,
        tag_keys: Vec<String>,
    },
    ListTagsForResource {
        resource_arn: String,
        page: Page,
    },
}

/// The target of an operation.
enum Subject<'a> {
    Resource(&'a ResourceKey),
    Collection(&'a Collection),
    /// The ARN of a resource, not parsed yet.
    Arn(&'a str),
}

/// The requested page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) limit: Option<i64>,
    pub(crate) next_token: Option<String>,
}

/// The body of a create or update call, without the spec and the resource's own name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateOrUpdateBody {
    client_token: Option<String>,
    tags: Option<Vec<Tag>>,
}

#[derive(Serialize, Deserialize)]
struct TagBody {
    tags: Vec<Tag>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntagBody {
    tag_keys: Vec<String>,
}

impl Request {
    /// Parses a request.
    pub(crate) fn read(request: &Parts, body: &[u8]) -> Result<Self, ApiError> {
        let query = request.uri.query().unwrap_or_default();
        let target = path::read(&request.method, request.uri.path())?;
        let operation = match target {
            Target::Collection(Verb::Create, collection) => {
                let mut body = json::object(body)?;
                let member = names::name_member(collection.kind);
                let name = match body.remove(member) {
                    Some(Value::String(name)) => name,
                    None | Some(Value::Null) => {
                        return Err(bad_request(format!("{member}: must be given")));
                    }
                    Some(_) => {
                        return Err(ApiError::serialization(format!(
                            "{member}: is not a string"
                        )));
                    }
                };
                let spec = read_spec(collection.kind, body.remove("spec"))?;
                let CreateOrUpdateBody { client_token, tags } = json::input(body, BAD_REQUEST)?;
                Operation::Create {
                    key: collection.member(&name),
                    spec,
                    tags: tags.unwrap_or_default(),
                    client_token,
                }
            }
            Target::Item(Verb::Update, key) => {
                let mut body = json::object(body)?;
                let spec = read_spec(key.kind, body.remove("spec"))?;
                let CreateOrUpdateBody { client_token, .. } = json::input(body, BAD_REQUEST)?;
                Operation::Update {
                    key,
                    spec,
                    client_token,
                }
            }
            Target::Item(Verb::Delete, key) => Operation::Delete(key),
            Target::Item(_, key) => Operation::Describe(key),
            Target::Collection(_, collection) => Operation::List {
                collection,
                page: Page::read(query)?,
            },
            Target::Tag => {
                let TagBody { tags } = json::input(json::object(body)?, BAD_REQUEST)?;
                Operation::TagResource {
                    resource_arn: resource_arn(query)?,
                    tags,
                }
            }
            Target::Untag => {
                let UntagBody { tag_keys } = json::input(json::object(body)?, BAD_REQUEST)?;
                Operation::UntagResource {
                    resource_arn: resource_arn(query)?,
                    tag_keys,
                }
            }
            Target::Tags => Operation::ListTagsForResource {
                page: Page::read(query)?,
                resource_arn: resource_arn(query)?,
            },
        };
        let mesh_owner = percent::query_value(query, "meshOwner").map(Cow::into_owned);
        Ok(Self {
            mesh_owner,
            operation,
        })
    }

    /// Executes the operation; returns the JSON of its output.
    pub(crate) async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        self.operation.check_names()?;
        self.check_owner(call)?;
        match self.operation {
            Operation::Create {
                key,
                spec,
                tags,
                client_token,
            } => resource::create(call, key, *spec, tags, client_token).await,
            Operation::Describe(key) => resource::describe(call, &key),
            Operation::Update {
                key,
                spec,
                client_token,
            } => resource::update(call, key, *spec, client_token).await,
            Operation::Delete(key) => resource::delete(call, key).await,
            Operation::List { collection, page } => resource::list(call, &collection, &page),
            Operation::TagResource { resource_arn, tags } => {
                resource::tag(call, &resource_arn, tags).await
            }
            Operation::UntagResource {
                resource_arn,
                tag_keys,
            } => resource::untag(call, &resource_arn, tag_keys).await,
            Operation::ListTagsForResource { resource_arn, page } => {
                resource::list_tags(call, &resource_arn, &page)
            }
        }
    }

    /// Checks `meshOwner`. Meshes are not shared between accounts, so the mesh of another account does not exist.
    fn check_owner(&self, call: &Call<'_>) -> Result<(), ApiError> {
        let Some(owner) = &self.mesh_owner else {
            return Ok(());
        };
        if owner.len() != 12 || !owner.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad_request(format!(
                "meshOwner: {owner:?} is not an account of twelve digits"
            )));
        }
        if **owner == *call.scope.account {
            return Ok(());
        }
        let mesh = self.operation.mesh().unwrap_or_default();
        Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "NotFoundException",
            format!("Mesh with name {mesh} is not present for account {owner}"),
        ))
    }
}

impl Operation {
    /// The name, as in policies: `CreateVirtualNode`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Create { key, .. } => Verb::Create.operation(key.kind),
            Self::Describe(key) => Verb::Describe.operation(key.kind),
            Self::Update { key, .. } => Verb::Update.operation(key.kind),
            Self::Delete(key) => Verb::Delete.operation(key.kind),
            Self::List { collection, .. } => Verb::List.operation(collection.kind),
            Self::TagResource { .. } => "TagResource".to_owned(),
            Self::UntagResource { .. } => "UntagResource".to_owned(),
            Self::ListTagsForResource { .. } => "ListTagsForResource".to_owned(),
        }
    }

    /// The names of all operations.
    pub(crate) fn names() -> Vec<String> {
        let of_kinds = Kind::ALL
            .into_iter()
            .flat_map(|kind| Verb::ALL.map(|verb| verb.operation(kind)));
        let of_tags = ["TagResource", "UntagResource", "ListTagsForResource"];
        of_kinds.chain(of_tags.map(str::to_owned)).collect()
    }

    /// The target of the operation.
    fn subject(&self) -> Subject<'_> {
        match self {
            Self::Create { key, .. }
            | Self::Describe(key)
            | Self::Update { key, .. }
            | Self::Delete(key) => Subject::Resource(key),
            Self::List { collection, .. } => Subject::Collection(collection),
            Self::TagResource { resource_arn, .. }
            | Self::UntagResource { resource_arn, .. }
            | Self::ListTagsForResource { resource_arn, .. } => Subject::Arn(resource_arn),
        }
    }

    /// The ARN of the resource that policies protect; `*` if there is none.
    pub(crate) fn resource(&self, scope: &Scope) -> String {
        let of = |key: &ResourceKey| arn::of_resource(scope, key);
        match self.subject() {
            Subject::Resource(key) => of(key),
            // Policies on a list name the parent of the collection.
            Subject::Collection(collection) => {
                let parent = collection.parent_key();
                parent.map_or_else(|| ANY.to_owned(), |key| of(&key))
            }
            // In canonical form, because some parts of an ARN are ignored here.
            Subject::Arn(text) => match arn::parse_resource(text) {
                Some(name) if name.scope.as_ref() == Some(scope) => of(&name.key),
                _ => text.to_owned(),
            },
        }
    }

    /// The mesh of the target.
    fn mesh(&self) -> Option<&str> {
        match self.subject() {
            Subject::Resource(key) => Some(&key.mesh),
            Subject::Collection(collection) => Some(&collection.mesh),
            Subject::Arn(_) => None,
        }
    }

    /// Checks that the names in the path have 1 to 255 characters. Names of virtual services have no bounds in
    /// the API, and the model checks the names of new resources, which are in the body.
    fn check_names(&self) -> Result<(), ApiError> {
        let (collection, own) = match self.subject() {
            Subject::Resource(key) => (Collection::of(key), Some(&*key.name)),
            Subject::Collection(collection) => (collection.clone(), None),
            Subject::Arn(_) => return Ok(()),
        };
        let kind = collection.kind;
        let is_checked = kind != Kind::VirtualService && !matches!(self, Self::Create { .. });
        let mesh = (kind != Kind::Mesh).then_some(&*collection.mesh);
        let named = [
            mesh.map(|name| (Kind::Mesh, name)),
            kind.parent().map(|kind| (kind, &*collection.parent)),
            own.filter(|_| is_checked).map(|name| (kind, name)),
        ];
        for (kind, name) in named.into_iter().flatten() {
            let length = name.chars().count();
            if !(1..=255).contains(&length) {
                let member = names::name_member(kind);
                let message = format!("{member}: has {length} characters, allowed are 1 to 255");
                return Err(bad_request(message));
            }
        }
        Ok(())
    }

    /// The method, path with query, and body of the call, which [`Request::read`] parses.
    pub(crate) fn write(&self) -> (Method, String, Option<Value>) {
        match self {
            Self::Create {
                key,
                spec,
                tags,
                client_token,
            } => {
                let mut body = create_or_update_body(spec, client_token.as_deref());
                body.insert(names::name_member(key.kind).into(), (*key.name).into());
                if !tags.is_empty() {
                    body.insert("tags".into(), json!(tags));
                }
                let path = Collection::of(key).path();
                (Method::PUT, path, Some(Value::Object(body)))
            }
            Self::Update {
                key,
                spec,
                client_token,
            } => {
                let body = create_or_update_body(spec, client_token.as_deref());
                (Method::PUT, path::of_item(key), Some(Value::Object(body)))
            }
            Self::Describe(key) => (Method::GET, path::of_item(key), None),
            Self::Delete(key) => (Method::DELETE, path::of_item(key), None),
            Self::List { collection, page } => {
                let path = format!("{}{}", collection.path(), page.write('?'));
                (Method::GET, path, None)
            }
            Self::TagResource { resource_arn, tags } => {
                let path = tag_path("tag", resource_arn);
                (Method::PUT, path, Some(json!({ "tags": tags })))
            }
            Self::UntagResource {
                resource_arn,
                tag_keys,
            } => {
                let path = tag_path("untag", resource_arn);
                (Method::PUT, path, Some(json!({ "tagKeys": tag_keys })))
            }
            Self::ListTagsForResource { resource_arn, page } => {
                let path = tag_path("tags", resource_arn) + &page.write('&');
                (Method::GET, path, None)
            }
        }
    }
}

impl Page {
    fn read(query: &str) -> Result<Self, ApiError> {
        let limit = match percent::query_value(query, "limit") {
            None => None,
            Some(limit) => Some(
                limit
                    .parse()
                    .map_err(|_| bad_request(format!("limit: {limit:?} is not a number")))?,
            ),
        };
        let token = percent::query_value(query, "nextToken").filter(|token| !token.is_empty());
        Ok(Self {
            limit,
            next_token: token.map(Cow::into_owned),
        })
    }

    /// The query parameters, if any, after `separator`: `?` or `&`.
    fn write(&self, separator: char) -> String {
        let limit = self.limit.map(|limit| format!("limit={limit}"));
        let token = self.next_token.as_deref();
        let token = token.map(|token| format!("nextToken={}", percent::encode(token)));
        let parameters: Vec<String> = limit.into_iter().chain(token).collect();
        match parameters.as_slice() {
            [] => String::new(),
            parameters => format!("{separator}{}", parameters.join("&")),
        }
    }
}

fn create_or_update_body(spec: &Spec, client_token: Option<&str>) -> Map<String, Value> {
    let mut body = Map::new();
    if let Some(token) = client_token {
        body.insert("clientToken".into(), token.into());
    }
    body.insert("spec".into(), spec.to_json());
    body
}

fn tag_path(name: &str, resource_arn: &str) -> String {
    let arn = percent::encode(resource_arn);
    format!("{APP_MESH_PREFIX}/{name}?resourceArn={arn}")
}

fn resource_arn(query: &str) -> Result<String, ApiError> {
    let arn = percent::query_value(query, "resourceArn").map(Cow::into_owned);
    arn.ok_or_else(|| bad_request("resourceArn: must be given"))
}

/// Parses the spec of a kind. It is required except for a mesh.
fn read_spec(kind: Kind, spec: Option<Value>) -> Result<Box<Spec>, ApiError> {
    let spec = match (spec.filter(|spec| !spec.is_null()), kind) {
        (Some(spec), _) => spec,
        (None, Kind::Mesh) => Value::Object(Map::new()),
        (None, _) => return Err(bad_request("spec: must be given")),
    };
    fn read<T: serde::de::DeserializeOwned>(spec: Value) -> Result<T, ApiError> {
        json::part("spec", spec, BAD_REQUEST)
    }
    Ok(Box::new(match kind {
        Kind::Mesh => Spec::Mesh(read(spec)?),
        Kind::VirtualNode => Spec::VirtualNode(read(spec)?),
        Kind::VirtualRouter => Spec::VirtualRouter(read(spec)?),
        Kind::Route => Spec::Route(read(spec)?),
        Kind::VirtualService => Spec::VirtualService(read(spec)?),
        Kind::VirtualGateway => Spec::VirtualGateway(read(spec)?),
        Kind::GatewayRoute => Spec::GatewayRoute(read(spec)?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(operation: Operation) {
        let (method, path, body) = operation.write();
        let request = http::Request::builder().method(method).uri(&path);
        let (parts, ()) = request.body(()).expect("a legal request").into_parts();
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let read = Request::read(&parts, &body).expect("readable");
        assert_eq!(
            (read.operation, read.mesh_owner),
            (operation, None),
            "{path}"
        );
    }

    /// The server parses what our client writes to the same request.
    #[test]
    fn operations_are_read_as_they_were_written() {
        let spec = |kind| {
            let spec = match kind {
                Kind::Route => {
                    json!({"tcpRoute": {"action": {"weightedTargets": [{"virtualNode": "n", "weight": 1}]}}})
                }
                Kind::VirtualGateway => {
                    json!({"listeners": [{"portMapping": {"port": 1, "protocol": "http"}}]})
                }
                Kind::GatewayRoute => json!({"httpRoute": {
                    "match": {"prefix": "/"},
                    "action": {"target": {"virtualService": {"virtualServiceName": "s"}}},
                }}),
                _ => json!({}),
            };
            Box::new(Spec::from_json(kind, spec).expect("legal"))
        };
        let arn = "arn:aws:appmesh:r:111122223333:mesh/m%/virtualNode/n&o".to_owned();
        let tags = vec![Tag {
            key: "k".into(),
            value: "v".into(),
        }];
        let page = Page {
            limit: Some(7),
            next_token: Some("a&b=c".into()),
        };
        for kind in Kind::ALL {
            let key = match kind {
                Kind::Mesh => ResourceKey::mesh("m/%"),
                Kind::Route | Kind::GatewayRoute => ResourceKey::child("m/%", kind, "p é", "n.n"),
                kind => ResourceKey::new("m/%", kind, "n.n"),
            };
            for client_token in [None, Some("t".to_owned())] {
                round_trip(Operation::Create {
                    key: key.clone(),
                    spec: spec(kind),
                    tags: tags.clone(),
                    client_token: client_token.clone(),
                });
                round_trip(Operation::Update {
                    key: key.clone(),
                    spec: spec(kind),
                    client_token,
                });
            }
            for page in [page.clone(), Page::default()] {
                round_trip(Operation::List {
                    collection: Collection::of(&key),
                    page,
                });
            }
            round_trip(Operation::Describe(key.clone()));
            round_trip(Operation::Delete(key));
        }
        round_trip(Operation::TagResource {
            resource_arn: arn.clone(),
            tags,
        });
        round_trip(Operation::UntagResource {
            resource_arn: arn.clone(),
            tag_keys: vec!["k".into()],
        });
        round_trip(Operation::ListTagsForResource {
            resource_arn: arn,
            page,
        });
    }

    #[test]
    fn each_operation_has_a_name_of_its_own() {
        let mut names = Operation::names();
        for expected in [
            "CreateMesh",
            "ListMeshes",
            "ListGatewayRoutes",
            "UpdateVirtualRouter",
        ] {
            assert!(names.iter().any(|name| name == expected), "{expected}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 38);
    }
}
