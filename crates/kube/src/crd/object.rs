//! The common parts of the seven kinds: the object around a spec, and the enum of all kinds.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use tombolo_document::{DecodeError, Decoded, decode};
use tombolo_model::schema::{HasSchema, Schema};
use tombolo_model::validation::{Form, Validator};

use super::record::record;
use super::{
    API_VERSION, BackendGroup, GatewayRoute, Mesh, VirtualGateway, VirtualNode, VirtualRouter,
    VirtualService,
};
use crate::{Codec as _, Violation};

record! {
    /// The mesh of an admitted object; written at admission, never by users.
    pub struct MeshRef {
        /// Name of the Mesh object (not its `awsName`).
        name: String,
        /// The uid of the object, so that a deleted and recreated mesh is not taken for the old one.
        uid: String,
    }

    /// The gateway of an admitted gateway route; written at admission, never by users.
    pub struct VirtualGatewayRef {
        /// Name of the VirtualGateway object.
        name: String,
        /// The namespace, unless it is the route's.
        namespace: Option<String>,
        /// The uid of the object.
        uid: String,
    }
}

/// An object of one of the seven kinds, determined by the type of its spec.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(
    from = "Written<S>",
    bound(deserialize = "S: Deserialize<'de> + Default")
)]
pub struct Object<S> {
    /// Name, namespace, labels, uid.
    pub metadata: ObjectMeta,
    /// The desired state.
    pub spec: S,
    /// The status that the controller wrote, unchecked: the API server ignores it in a manifest, too.
    pub status: Option<Value>,
}

/// An object's schema is that of its spec: the rest is the same for all.
impl<S: HasSchema> HasSchema for Object<S> {
    fn schema() -> Schema {
        S::schema()
    }
}

/// Declares the kinds: [`Kind`], and [`Resource`], which is an object of any of them.
macro_rules! kinds {
    ($($kind:ident,)+) => {
        /// One of the seven kinds. In this order references point backwards, except from a node to its backends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the names are those of the kinds")]
        pub enum Kind {
            $($kind,)+
        }

        impl Kind {
            /// Every kind, in order.
            pub const ALL: [Self; 7] = [$(Self::$kind),+];

            /// The `kind:` name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)+
                }
            }

            /// What the kind is, in a sentence.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$kind => <$kind>::DESCRIPTION,)+
                }
            }

            /// What a spec of the kind may be, as far as its types tell.
            pub(super) fn spec_schema(self) -> Schema {
                match self {
                    $(Self::$kind => <$kind>::schema(),)+
                }
            }
        }

        /// Any object of the seven kinds.
        #[allow(
            clippy::large_enum_variant,
            reason = "wherever many are held, each lies behind an `Arc` or a `Box` already"
        )]
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the names are those of the kinds")]
        pub enum Resource {
            $($kind($kind),)+
        }

        impl Resource {
            /// The kind of the object.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// Decodes an object of this kind, and reports the fields that the kind does not have.
            ///
            /// # Errors
            /// The first field that does not fit.
            pub fn decode(kind: Kind, value: &Value) -> Result<Decoded<Self>, DecodeError> {
                Ok(match kind {
                    $(Kind::$kind => decode::<$kind>(value)?.map(Self::$kind),)+
                })
            }
        }
    };
}

kinds! {
    Mesh,
    VirtualNode,
    VirtualRouter,
    VirtualService,
    VirtualGateway,
    GatewayRoute,
    BackendGroup,
}

impl Kind {
    /// Whether objects live in a namespace. Only a mesh does not.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Mesh)
    }

    /// As URLs and names of CRDs have it.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Mesh => "meshes",
            Self::VirtualNode => "virtualnodes",
            Self::VirtualRouter => "virtualrouters",
            Self::VirtualService => "virtualservices",
            Self::VirtualGateway => "virtualgateways",
            Self::GatewayRoute => "gatewayroutes",
            Self::BackendGroup => "backendgroups",
        }
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
    /// Name, namespace, labels, uid.
    pub fn metadata(&self) -> &ObjectMeta {
        each!(self, object => &object.metadata)
    }

    /// Mutable metadata: name, namespace, labels, uid.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        each!(self, object => &mut object.metadata)
    }

    /// The status that a controller wrote, unchecked.
    pub fn status(&self) -> Option<&Value> {
        each!(self, object => object.status.as_ref())
    }

    /// The same, to be changed.
    pub fn status_mut(&mut self) -> &mut Option<Value> {
        each!(self, object => &mut object.status)
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

    /// Mutable access to the name in the mesh API; `None` for a backend group.
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

    /// Mutable access to the membership; `None` for a mesh.
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

    /// Whether the other object is of the same kind and has the same spec.
    pub fn has_same_spec(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mesh(one), Self::Mesh(other)) => one.spec == other.spec,
            (Self::VirtualNode(one), Self::VirtualNode(other)) => one.spec == other.spec,
            (Self::VirtualRouter(one), Self::VirtualRouter(other)) => one.spec == other.spec,
            (Self::VirtualService(one), Self::VirtualService(other)) => one.spec == other.spec,
            (Self::VirtualGateway(one), Self::VirtualGateway(other)) => one.spec == other.spec,
            (Self::GatewayRoute(one), Self::GatewayRoute(other)) => one.spec == other.spec,
            (Self::BackendGroup(one), Self::BackendGroup(other)) => one.spec == other.spec,
            _ => false,
        }
    }

    /// All violations of the object's spec by itself.
    pub fn check(&self) -> Vec<Violation> {
        each!(self, object => Validator::spec(Form::Kubernetes, &object.spec))
    }
}

/// The encoded form of an object. `apiVersion` and `kind` are optional because lists omit them; the caller has
/// already dispatched on them.
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

/// Declares a kind: its object, and its spec with its schema. Every member may be absent; a type of Kubernetes names the
/// type that has its schema.
macro_rules! kind {
    (
        $(#[doc = $about:literal])*
        $kind:ident($spec:ident) {
            $(
                $(#[doc = $doc:literal])*
                $member:ident $(as $key:literal)?: $type:ty $(as $schema:ty)? $([$bounds:expr])?,
            )+
        }
    ) => {
        $(#[doc = $about])*
        pub type $kind = $crate::crd::Object<$spec>;

        #[doc = concat!("The spec of a ", stringify!($kind), ".")]
        #[derive(Clone, Debug, Default, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $spec {
            $(
                $(#[doc = $doc])*
                $(#[serde(rename = $key)])?
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $member: Option<$type>,
            )+
        }

        impl $kind {
            /// What the kind is, in a sentence.
            pub(super) const DESCRIPTION: &'static str = concat!($($about),*);
        }

        impl ::tombolo_model::schema::HasSchema for $spec {
            fn schema() -> ::tombolo_model::schema::Schema {
                use ::tombolo_model::schema::{Member, Schema};
                Schema::object([$(
                    Member::new::<Option<kind!(@schema $type $(, $schema)?)>>(
                        kind!(@key $member $($key)?),
                        concat!($($doc),*),
                    )$(.within($bounds))?,
                )+])
            }
        }
    };
    (@schema $type:ty, $schema:ty) => {
        $schema
    };
    (@schema $type:ty) => {
        $type
    };
    (@key $member:ident $key:literal) => {
        $key
    };
    (@key $member:ident) => {
        stringify!($member)
    };
}
pub(super) use kind;
