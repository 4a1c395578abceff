//! Kubernetes types from JSON, and to JSON.
//!
//! serde's functions are generic: each crate that calls one compiles the code of the type and of all types inside it
//! again, which for a Pod are some two hundred. So they are called here, once for each type, and other crates call
//! [`Codec`], whose implementations are not generic. [`crate::crd::Resource`] does the same for the mesh kinds.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, Namespace, Pod, PodSpec, PodTemplateSpec, Probe, Secret, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use tombolo_document::{DecodeError, Decoded, decode};

/// A type that the Kubernetes API encodes as JSON.
pub trait Codec: Sized {
    /// Decodes a value, and reports the fields that the type does not have.
    ///
    /// # Errors
    /// The first field that does not fit the type.
    fn decode(value: &Value) -> Result<Decoded<Self>, DecodeError>;

    /// Decodes a value, and ignores the fields that the type does not have.
    ///
    /// # Errors
    /// The first field that does not fit the type.
    fn from_json(value: &Value) -> Result<Self, DecodeError> {
        Ok(Self::decode(value)?.value)
    }

    /// The value as JSON; members are in the order of the type.
    fn to_json(&self) -> Value;
}

macro_rules! codec {
    ($($kind:ty),+ $(,)?) => {$(
        impl Codec for $kind {
            fn decode(value: &Value) -> Result<Decoded<Self>, DecodeError> {
                decode(value)
            }

            fn to_json(&self) -> Value {
                serde_json::to_value(self).expect("the keys of every map are strings")
            }
        }
    )+};
}

codec!(
    ObjectMeta,
    Namespace,
    ConfigMap,
    Secret,
    Service,
    Deployment,
    ReplicaSet,
    Pod,
    PodTemplateSpec,
    PodSpec,
    Container,
    Probe,
);
