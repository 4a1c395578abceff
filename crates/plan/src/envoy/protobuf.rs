//! Constructors of common protobuf messages.

use std::sync::Arc;
use tombolo_xds::envoy::pb::{
    envoy::config::core::v3::{
        Address, AggregatedConfigSource, ApiVersion, ConfigSource, Metadata, SocketAddress,
        address, config_source::ConfigSourceSpecifier, socket_address::PortSpecifier,
    },
    google::protobuf::{Any, BoolValue, Duration, Struct, UInt32Value, Value, value},
};

pub(super) fn duration(length: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        nanos: length
            .subsec_nanos()
            .try_into()
            .expect("less than a thousand million"),
    }
}

/// The value of a timeout field; no timeout (`None`) is 0 in Envoy.
pub(super) fn timeout(timeout: Option<std::time::Duration>) -> Option<Duration> {
    Some(duration(timeout.unwrap_or_default()))
}

/// The metadata key of Tombolo; its field `object` names the object that a resource comes from. Documented in
/// `docs/decisions/0024-versions-come-from-the-plan.md`.
const ORIGIN: &str = "tombolo";

/// Metadata that names the object that a resource comes from. Each map has one entry only: the encoded order of a
/// larger hash map would be random.
pub(super) fn origin(object: &Arc<str>) -> Metadata {
    let object = Value {
        kind: Some(value::Kind::StringValue(object.to_string())),
    };
    let fields = [("object".to_owned(), object)].into();
    Metadata {
        filter_metadata: [(ORIGIN.to_owned(), Struct { fields })].into(),
        ..Default::default()
    }
}

pub(super) fn uint32(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(super) fn boolean(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(super) fn pack<M: prost::Message + prost::Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

pub(super) fn socket(address: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// The wildcard address: `0.0.0.0`, or `::` for both families if `dual_stack`.
pub(super) fn any_address(dual_stack: bool, port: u16) -> Address {
    if !dual_stack {
        return socket("0.0.0.0", port);
    }
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: "::".to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ipv4_compat: true,
            ..Default::default()
        })),
    }
}

/// The config source "aggregated": the resource comes over the same stream.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}
