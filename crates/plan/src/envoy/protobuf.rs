//! Protobuf's wrapped values.

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

/// A limit on time; Envoy writes "no limit" as zero.
pub(super) fn limit(length: Option<std::time::Duration>) -> Option<Duration> {
    Some(duration(length.unwrap_or_default()))
}

/// The key under which metadata says which object a resource comes from, in the field `object`. Documented in
/// `docs/decisions/0024-versions-come-from-the-plan.md`.
const ORIGIN: &str = "tombolo";

/// Metadata that says which object a resource comes from. One entry in each map: hash maps of more are encoded in
/// another order each time.
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

pub(super) fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(super) fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

pub(super) fn no() -> Option<BoolValue> {
    Some(BoolValue { value: false })
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

/// Every address of the host: IPv4 alone, or IPv6 and IPv4.
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

/// "Over the stream that this came by."
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}
