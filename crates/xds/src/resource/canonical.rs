//! A stable order for map fields, so that equal messages have equal bytes.
//!
//! The generated types keep map fields in hash maps, which are encoded in a different order
//! each time. Left alone, a cluster with two metadata keys would get a new version whenever
//! it is compiled again, and every proxy would be woken for nothing. So the entries are
//! sorted in the encoded form, guided by a table of where maps are.
//!
//! The table is a list of what the planner can produce, not of all of Envoy. A map that it
//! does not know stays unsorted, which costs a needless push and never a wrong one.
//! Rejected: guessing maps from their shape, since a route (`match` = 1, `route` = 2) looks
//! like a map entry, and sorting routes would change what they mean.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_varint};

use prost::Name;

use super::Kind;
use crate::envoy::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use crate::envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use crate::envoy::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use crate::envoy::pb::google::protobuf::Struct;

/// What a field of a known message holds.
#[derive(Clone, Copy)]
enum Field {
    /// A message.
    Message(Shape),
    /// A map with string keys and messages as values; the entries are to be sorted.
    Map(Shape),
}

/// The messages that hold maps, or lead to one that does.
#[derive(Clone, Copy)]
enum Shape {
    Leaf,
    Any,
    Struct,
    Value,
    ListValue,
    Metadata,
    Cluster,
    LbSubset,
    SocketMatch,
    ClusterLoadAssignment,
    LocalityEndpoints,
    LbEndpoint,
    Endpoint,
    Listener,
    FilterChain,
    TypedConfig,
    HttpConnectionManager,
    TcpProxy,
    RouteConfiguration,
    VirtualHost,
    Route,
    RouteAction,
    WeightedClusters,
    ClusterWeight,
    FileAccessLog,
    LogFormat,
}

impl Shape {
    fn of_kind(kind: Kind) -> Shape {
        match kind {
            Kind::Cluster => Shape::Cluster,
            Kind::Endpoint => Shape::ClusterLoadAssignment,
            Kind::Listener => Shape::Listener,
            Kind::Route => Shape::RouteConfiguration,
            Kind::Secret => Shape::Leaf,
        }
    }

    /// The shape of what an `Any` wraps.
    fn of_type_url(type_url: &[u8]) -> Shape {
        let name = type_url
            .strip_prefix(b"type.googleapis.com/")
            .unwrap_or_default();
        let messages: [(String, Shape); 4] = [
            (
                HttpConnectionManager::full_name(),
                Shape::HttpConnectionManager,
            ),
            (TcpProxy::full_name(), Shape::TcpProxy),
            (FileAccessLog::full_name(), Shape::FileAccessLog),
            (Struct::full_name(), Shape::Struct),
        ];
        let known = messages
            .into_iter()
            .find(|(full, _)| full.as_bytes() == name);
        known.map_or(Shape::Leaf, |(_, shape)| shape)
    }

    /// What a field holds, by its number in the proto files of Envoy v3.
    fn field(self, number: u32) -> Option<Field> {
        use Field::{Map, Message};
        Some(match (self, number) {
            (Shape::Struct, 1) => Map(Shape::Value),
            (Shape::Value, 5) => Message(Shape::Struct),
            (Shape::Value, 6) => Message(Shape::ListValue),
            (Shape::ListValue, 1) => Message(Shape::Value),
            (Shape::Metadata, 1) => Map(Shape::Struct),
            (Shape::Metadata, 2) => Map(Shape::Any),

            (Shape::Cluster, 22) => Message(Shape::LbSubset),
            (Shape::Cluster, 24) => Message(Shape::TypedConfig),
            (Shape::Cluster, 25) => Message(Shape::Metadata),
            (Shape::Cluster, 33) => Message(Shape::ClusterLoadAssignment),
            (Shape::Cluster, 36) => Map(Shape::Any),
            (Shape::Cluster, 43) => Message(Shape::SocketMatch),
            (Shape::LbSubset, 2) => Message(Shape::Struct),
            (Shape::SocketMatch, 2) => Message(Shape::Struct),
            (Shape::SocketMatch, 3) => Message(Shape::TypedConfig),

            (Shape::ClusterLoadAssignment, 2) => Message(Shape::LocalityEndpoints),
            (Shape::ClusterLoadAssignment, 5) => Map(Shape::Endpoint),
            (Shape::LocalityEndpoints, 2) => Message(Shape::LbEndpoint),
            (Shape::LocalityEndpoints, 9) => Message(Shape::Metadata),
            (Shape::LbEndpoint, 3) => Message(Shape::Metadata),

            (Shape::Listener, 3) => Message(Shape::FilterChain),
            (Shape::Listener, 6) => Message(Shape::Metadata),
            (Shape::Listener, 22) => Message(Shape::TypedConfig),
            (Shape::Listener, 25) => Message(Shape::FilterChain),
            (Shape::FilterChain, 3) => Message(Shape::TypedConfig),
            (Shape::FilterChain, 5) => Message(Shape::Metadata),
            (Shape::FilterChain, 6) => Message(Shape::TypedConfig),
            // 3 in a transport socket; 4 in a filter and in an access log.
            (Shape::TypedConfig, 3 | 4) => Message(Shape::Any),

            (Shape::HttpConnectionManager, 4) => Message(Shape::RouteConfiguration),
            (Shape::HttpConnectionManager, 5 | 13) => Message(Shape::TypedConfig),
            (Shape::TcpProxy, 5) => Message(Shape::TypedConfig),
            (Shape::FileAccessLog, 5) => Message(Shape::LogFormat),
            (Shape::LogFormat, 2) => Message(Shape::Struct),

            (Shape::RouteConfiguration, 2) => Message(Shape::VirtualHost),
            (Shape::RouteConfiguration, 16) => Map(Shape::Any),
            (Shape::RouteConfiguration, 17) => Message(Shape::Metadata),
            (Shape::VirtualHost, 3) => Message(Shape::Route),
            (Shape::VirtualHost, 15) => Map(Shape::Any),
            (Shape::VirtualHost, 24) => Message(Shape::Metadata),
            (Shape::Route, 2) => Message(Shape::RouteAction),
            (Shape::Route, 4) => Message(Shape::Metadata),
            (Shape::Route, 13) => Map(Shape::Any),
            (Shape::RouteAction, 3) => Message(Shape::WeightedClusters),
            (Shape::RouteAction, 4) => Message(Shape::Metadata),
            (Shape::WeightedClusters, 1) => Message(Shape::ClusterWeight),
            (Shape::ClusterWeight, 3) => Message(Shape::Metadata),
            (Shape::ClusterWeight, 10) => Map(Shape::Any),
            _ => return None,
        })
    }
}

/// Sorts the entries of every known map field by key. A body that is not well-formed is
/// returned as it came.
pub(super) fn sort_maps(kind: Kind, body: Vec<u8>) -> Vec<u8> {
    rewrite(Shape::of_kind(kind), &body, DEPTH).unwrap_or(body)
}

/// Nesting beyond this is left as it is; prost itself refuses to decode more.
const DEPTH: u32 = 100;

/// One field of a message: its number and its bytes, tag included.
struct Part {
    number: u32,
    /// The key, for an entry of a map.
    key: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

fn rewrite(shape: Shape, message: &[u8], depth: u32) -> Option<Vec<u8>> {
    if matches!(shape, Shape::Leaf) || depth == 0 {
        return Some(message.to_vec());
    }
    let mut parts = split(shape, message, depth)?;
    // Only the entries of one map trade places; everything else keeps its position.
    let numbers: Vec<u32> = parts
        .iter()
        .filter(|p| p.key.is_some())
        .map(|p| p.number)
        .collect();
    for number in numbers
        .iter()
        .copied()
        .collect::<std::collections::BTreeSet<_>>()
    {
        let places: Vec<usize> = (0..parts.len())
            .filter(|&i| parts[i].number == number && parts[i].key.is_some())
            .collect();
        let mut entries: Vec<(Option<Vec<u8>>, Vec<u8>)> = places
            .iter()
            .map(|&i| (parts[i].key.clone(), std::mem::take(&mut parts[i].bytes)))
            .collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (place, (_, bytes)) in places.into_iter().zip(entries) {
            parts[place].bytes = bytes;
        }
    }
    Some(parts.into_iter().flat_map(|part| part.bytes).collect())
}

fn split(shape: Shape, message: &[u8], depth: u32) -> Option<Vec<Part>> {
    let wrapped = if matches!(shape, Shape::Any) {
        wrapped(message)?
    } else {
        Shape::Leaf
    };
    let mut parts = Vec::new();
    let mut rest = message;
    while rest.has_remaining() {
        let start = rest;
        let (number, wire) = decode_key(&mut rest).ok()?;
        let payload = payload(&mut rest, wire)?;
        let whole = &start[..start.len() - rest.len()];
        let field = match (shape, number) {
            (Shape::Any, 2) => Some(Field::Message(wrapped)),
            _ => shape.field(number),
        };
        let part = match field {
            Some(Field::Message(inner)) if wire == WireType::LengthDelimited => Part {
                number,
                key: None,
                bytes: delimited(number, &rewrite(inner, payload, depth - 1)?),
            },
            Some(Field::Map(value)) if wire == WireType::LengthDelimited => {
                let (key, entry) = map_entry(value, payload, depth - 1)?;
                Part {
                    number,
                    key: Some(key),
                    bytes: delimited(number, &entry),
                }
            }
            _ => Part {
                number,
                key: None,
                bytes: whole.to_vec(),
            },
        };
        parts.push(part);
    }
    Some(parts)
}

/// The key of a map entry, and the entry with its value rewritten.
fn map_entry(value: Shape, entry: &[u8], depth: u32) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut key, mut bytes) = (Vec::new(), Vec::new());
    let mut rest = entry;
    while rest.has_remaining() {
        let start = rest;
        let (number, wire) = decode_key(&mut rest).ok()?;
        let payload = payload(&mut rest, wire)?;
        match (number, wire) {
            (2, WireType::LengthDelimited) => {
                bytes.extend(delimited(2, &rewrite(value, payload, depth)?));
            }
            _ => {
                if number == 1 {
                    key = payload.to_vec();
                }
                bytes.extend(&start[..start.len() - rest.len()]);
            }
        }
    }
    Some((key, bytes))
}

/// The shape of the message in an `Any`.
fn wrapped(any: &[u8]) -> Option<Shape> {
    let mut rest = any;
    while rest.has_remaining() {
        let (number, wire) = decode_key(&mut rest).ok()?;
        let payload = payload(&mut rest, wire)?;
        if number == 1 {
            return Some(Shape::of_type_url(payload));
        }
    }
    Some(Shape::Leaf)
}

/// Takes the payload of a field off the front: for a length-delimited one its content.
/// Groups are not used by any message here and count as malformed.
fn payload<'a>(rest: &mut &'a [u8], wire: WireType) -> Option<&'a [u8]> {
    let length = match wire {
        WireType::Varint => {
            let start = *rest;
            decode_varint(rest).ok()?;
            return Some(&start[..start.len() - rest.len()]);
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(rest).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (payload, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(payload)
}

fn delimited(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    prost::encoding::encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}
