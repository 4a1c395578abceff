//! What the seven kinds have in common: identity, references, and the enum that holds any of them.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tombolo_document::{DecodeError, Decoded, decode};
use tombolo_model::validation::{Form, Validator};

use super::{
    API_VERSION, BackendGroup, GatewayRoute, Mesh, VirtualGateway, VirtualNode, VirtualRouter,
    VirtualService,
};
use crate::{Codec as _, Violation};

/// The mesh that an object was admitted into; written at admission, never by users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshRef {
    /// Name of the Mesh object (not its `awsName`).
    pub name: String,
    /// Its uid, so that a deleted and recreated mesh is not taken for the old one.
    pub uid: String,
}

/// The gateway that a gateway route was admitted into; written at admission, never by users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualGatewayRef {
    /// Name of the VirtualGateway object.
    pub name: String,
    /// Its namespace, unless it is the route's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its uid.
    pub uid: String,
}

/// One of the seven kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `Mesh`, cluster-wide.
    Mesh,
    /// `VirtualNode`.
    VirtualNode,
    /// `VirtualRouter`.
    VirtualRouter,
    /// `VirtualService`.
    VirtualService,
    /// `VirtualGateway`.
    VirtualGateway,
    /// `GatewayRoute`.
    GatewayRoute,
    /// `BackendGroup`.
    BackendGroup,
}

impl Kind {
    /// Every kind, in an order in which references point backwards, except from a node to its backends.
    pub const ALL: [Self; 7] = [
        Self::Mesh,
        Self::VirtualNode,
        Self::VirtualRouter,
        Self::VirtualService,
        Self::VirtualGateway,
        Self::GatewayRoute,
        Self::BackendGroup,
    ];

    /// As `kind:` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "Mesh",
            Self::VirtualNode => "VirtualNode",
            Self::VirtualRouter => "VirtualRouter",
            Self::VirtualService => "VirtualService",
            Self::VirtualGateway => "VirtualGateway",
            Self::GatewayRoute => "GatewayRoute",
            Self::BackendGroup => "BackendGroup",
        }
    }

    /// Whether objects live in a namespace. Only a mesh does not.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Mesh)
    }

    /// The kind with this `kind:` name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An object of one of the seven kinds, which its spec tells.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(
    from = "Written<S>",
    bound(deserialize = "S: Deserialize<'de> + Default")
)]
pub struct Object<S> {
    /// Name, namespace, labels, uid.
    pub metadata: ObjectMeta,
    /// What the user wants.
    pub spec: S,
    /// What the controller wrote back, as written.
    pub status: Option<Value>,
}

/// Any object of the seven kinds.
#[allow(
    clippy::large_enum_variant,
    reason = "wherever many are held, each lies behind an `Arc` or a `Box` already"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A mesh.
    Mesh(Mesh),
    /// A virtual node.
    VirtualNode(VirtualNode),
    /// A virtual router with its routes.
    VirtualRouter(VirtualRouter),
    /// A virtual service.
    VirtualService(VirtualService),
    /// A virtual gateway.
    VirtualGateway(VirtualGateway),
    /// A gateway route.
    GatewayRoute(GatewayRoute),
    /// A backend group.
    BackendGroup(BackendGroup),
}

macro_rules! each {
    ($resource:expr, $object:ident => $body:expr) => {
        match $resource {
            Resource::Mesh($object) => $body,
            Resource::VirtualNode($object) => $body,
            Resource::VirtualRouter($object) => $body,
            Resource::VirtualService($object) => $body,
            Resource::VirtualGateway($object) => $body,
            Resource::GatewayRoute($object) => $body,
            Resource::BackendGroup($object) => $body,
        }
    };
}

impl Resource {
    /// Which of the seven it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mesh(_) => Kind::Mesh,
            Self::VirtualNode(_) => Kind::VirtualNode,
            Self::VirtualRouter(_) => Kind::VirtualRouter,
            Self::VirtualService(_) => Kind::VirtualService,
            Self::VirtualGateway(_) => Kind::VirtualGateway,
            Self::GatewayRoute(_) => Kind::GatewayRoute,
            Self::BackendGroup(_) => Kind::BackendGroup,
        }
    }

    /// Name, namespace, labels, uid.
    pub fn metadata(&self) -> &ObjectMeta {
        each!(self, object => &object.metadata)
    }

    /// The same, to be changed.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        each!(self, object => &mut object.metadata)
    }

    /// `metadata.name`, empty if absent.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`, empty if absent.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    /// The name in the mesh API: `spec.awsName`. `None` before admission, and for a backend group, which has no
    /// counterpart there.
    pub fn aws_name(&self) -> Option<&str> {
        match self {
            Self::Mesh(object) => object.spec.aws_name.as_deref(),
            Self::VirtualNode(object) => object.spec.aws_name.as_deref(),
            Self::VirtualRouter(object) => object.spec.aws_name.as_deref(),
            Self::VirtualService(object) => object.spec.aws_name.as_deref(),
            Self::VirtualGateway(object) => object.spec.aws_name.as_deref(),
            Self::GatewayRoute(object) => object.spec.aws_name.as_deref(),
            Self::BackendGroup(_) => None,
        }
    }

    /// The name in the mesh API, to be set; `None` for a backend group.
    pub fn aws_name_mut(&mut self) -> Option<&mut Option<String>> {
        match self {
            Self::Mesh(object) => Some(&mut object.spec.aws_name),
            Self::VirtualNode(object) => Some(&mut object.spec.aws_name),
            Self::VirtualRouter(object) => Some(&mut object.spec.aws_name),
            Self::VirtualService(object) => Some(&mut object.spec.aws_name),
            Self::VirtualGateway(object) => Some(&mut object.spec.aws_name),
            Self::GatewayRoute(object) => Some(&mut object.spec.aws_name),
            Self::BackendGroup(_) => None,
        }
    }

    /// The membership, to be set; `None` for a mesh.
    pub fn mesh_ref_mut(&mut self) -> Option<&mut Option<MeshRef>> {
        match self {
            Self::Mesh(_) => None,
            Self::VirtualNode(object) => Some(&mut object.spec.mesh_ref),
            Self::VirtualRouter(object) => Some(&mut object.spec.mesh_ref),
            Self::VirtualService(object) => Some(&mut object.spec.mesh_ref),
            Self::VirtualGateway(object) => Some(&mut object.spec.mesh_ref),
            Self::GatewayRoute(object) => Some(&mut object.spec.mesh_ref),
            Self::BackendGroup(object) => Some(&mut object.spec.mesh_ref),
        }
    }

    /// The mesh that the object was admitted into. `None` before admission, and for a mesh.
    pub fn mesh_ref(&self) -> Option<&MeshRef> {
        match self {
            Self::Mesh(_) => None,
            Self::VirtualNode(object) => object.spec.mesh_ref.as_ref(),
            Self::VirtualRouter(object) => object.spec.mesh_ref.as_ref(),
            Self::VirtualService(object) => object.spec.mesh_ref.as_ref(),
            Self::VirtualGateway(object) => object.spec.mesh_ref.as_ref(),
            Self::GatewayRoute(object) => object.spec.mesh_ref.as_ref(),
            Self::BackendGroup(object) => object.spec.mesh_ref.as_ref(),
        }
    }

    /// Decodes an object of this kind, and reports the fields that the kind does not have.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn decode(kind: Kind, value: &Value) -> Result<Decoded<Self>, DecodeError> {
        fn of<S: DeserializeOwned + Default>(
            value: &Value,
            resource: fn(Object<S>) -> Resource,
        ) -> Result<Decoded<Resource>, DecodeError> {
            Ok(decode::<Object<S>>(value)?.map(resource))
        }
        match kind {
            Kind::Mesh => of(value, Self::Mesh),
            Kind::VirtualNode => of(value, Self::VirtualNode),
            Kind::VirtualRouter => of(value, Self::VirtualRouter),
            Kind::VirtualService => of(value, Self::VirtualService),
            Kind::VirtualGateway => of(value, Self::VirtualGateway),
            Kind::GatewayRoute => of(value, Self::GatewayRoute),
            Kind::BackendGroup => of(value, Self::BackendGroup),
        }
    }

    /// The object as JSON, with its `apiVersion` and `kind`.
    pub fn to_json(&self) -> Value {
        let spec = each!(self, object => serde_json::to_value(&object.spec));
        let mut json = json!({
            "apiVersion": API_VERSION,
            "kind": self.kind().name(),
            "metadata": self.metadata().to_json(),
            "spec": spec.expect("the keys of every map are strings"),
        });
        if let Some(status) = each!(self, object => &object.status) {
            json["status"] = status.clone();
        }
        json
    }

    /// Everything that is wrong with the object's spec by itself.
    pub fn check(&self) -> Vec<Violation> {
        each!(self, object => Validator::spec(Form::Kubernetes, &object.spec))
    }
}

/// How an object is written. `apiVersion` and `kind` are optional because lists omit them; when present they were
/// dispatched on already.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<S> {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<S>,
    status: Option<Value>,
}

impl<S: Default> From<Written<S>> for Object<S> {
    fn from(written: Written<S>) -> Self {
        Self {
            metadata: written.metadata,
            spec: written.spec.unwrap_or_default(),
            status: written.status,
        }
    }
}
