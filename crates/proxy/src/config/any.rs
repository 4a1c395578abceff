//! Typed messages (`google.protobuf.Any`).

use envoy_types::pb::google::protobuf;
use prost::{Message, Name};

use super::error::{ConfigError, ConfigResult, ensure};

/// Decodes an `Any` that must contain `M`; any other type URL is rejected by name.
pub(crate) fn decode_any<M: Message + Name + Default>(any: &protobuf::Any) -> ConfigResult<M> {
    let (found, expected) = (any_name(any), M::full_name());
    ensure(
        found == expected,
        "",
        format!("has type {found}, expected {expected}"),
    )?;
    decode(&any.value)
}

pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> ConfigResult<M> {
    M::decode(bytes)
        .map_err(|error| ConfigError::new("", format!("is not valid protobuf: {error}")))
}

/// The message name of an `Any`, for choosing its decoder.
pub(crate) fn any_name(any: &protobuf::Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}
