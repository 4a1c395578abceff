//! Objects for tests.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::Codec;
use crate::crd::{Kind, Resource};

/// An arbitrary time.
pub(crate) const TIME: Time = Time(Timestamp::UNIX_EPOCH);

/// An object of a mesh kind.
pub(crate) fn resource(kind: &str, value: Value) -> Resource {
    let kind = Kind::from_name(kind).expect("one of the seven");
    let decoded = Resource::decode(kind, &value).expect("the kind's shape");
    decoded.value
}

/// A pod.
pub(crate) fn pod(value: Value) -> Pod {
    Pod::from_json(&value).expect("a pod")
}
