//! xDS resources, each encoded once and shared by all streams.

mod reference;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::fmt::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use prost::{Message, Name};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::envoy::pb::envoy::config::cluster::v3::Cluster;
use crate::envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use crate::envoy::pb::envoy::config::listener::v3::Listener;
use crate::envoy::pb::envoy::config::route::v3::RouteConfiguration;
use crate::envoy::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use crate::envoy::pb::envoy::service::discovery::v3 as discovery;

pub use reference::Reference;

/// The xDS resource types that this crate supports. The order of the variants is the index in per-kind arrays; the
/// order of responses is [`Kind::PUSH_ORDER`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// CDS: `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    Endpoint,
    /// LDS: `envoy.config.listener.v3.Listener`.
    Listener,
    /// RDS: `envoy.config.route.v3.RouteConfiguration`.
    Route,
    /// SDS: `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
}

impl Kind {
    /// Every kind, in the order of the variants.
    pub const ALL: [Kind; 5] = [
        Kind::Cluster,
        Kind::Endpoint,
        Kind::Listener,
        Kind::Route,
        Kind::Secret,
    ];

    /// The order of additions and changes: a kind comes before the kinds that refer to it (make before break).
    pub const PUSH_ORDER: [Kind; 5] = [
        Kind::Secret,
        Kind::Cluster,
        Kind::Endpoint,
        Kind::Listener,
        Kind::Route,
    ];

    /// The order of removals: a kind comes before the kinds that it refers to, so that no reference dangles.
    /// The reverse of [`Kind::PUSH_ORDER`] would remove the endpoints of a cluster that is still there.
    pub const REMOVAL_ORDER: [Kind; 5] = [
        Kind::Listener,
        Kind::Route,
        Kind::Cluster,
        Kind::Endpoint,
        Kind::Secret,
    ];

    /// The type URL that names this kind on the wire.
    pub const fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The kind that a type URL names, if this crate supports it.
    pub fn from_type_url(type_url: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.type_url() == type_url)
    }

    /// The short name of the discovery service: `CDS`, `EDS`, `LDS`, `RDS` or `SDS`.
    pub const fn service(self) -> &'static str {
        match self {
            Kind::Cluster => "CDS",
            Kind::Endpoint => "EDS",
            Kind::Listener => "LDS",
            Kind::Route => "RDS",
            Kind::Secret => "SDS",
        }
    }

    /// Whether a subscription without names means all resources: true for clusters and listeners, from which all other
    /// resources are referred to.
    pub const fn is_root(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service())
    }
}

/// The protobuf message of one [`Kind`].
pub trait Body: Message + Name + Default {
    /// The kind of the message.
    const KIND: Kind;

    /// Adds the references of the message to `found`.
    fn refer(&self, _found: &mut Vec<Reference>) {}
}

impl Body for Cluster {
    const KIND: Kind = Kind::Cluster;

    fn refer(&self, found: &mut Vec<Reference>) {
        reference::in_cluster(self, found);
    }
}

impl Body for ClusterLoadAssignment {
    const KIND: Kind = Kind::Endpoint;
}

impl Body for Listener {
    const KIND: Kind = Kind::Listener;

    fn refer(&self, found: &mut Vec<Reference>) {
        reference::in_listener(self, found);
    }
}

impl Body for RouteConfiguration {
    const KIND: Kind = Kind::Route;
}

impl Body for Secret {
    const KIND: Kind = Kind::Secret;
}

/// A named, versioned, encoded message. Immutable: share it as `Arc<Resource>`.
///
/// The body stays encoded because most users (the server, a cache, a file) only pass it on; [`Resource::decode`]
/// decodes it. It is kept in the encoded form of delta responses, so that all streams share the bytes.
#[derive(Clone)]
pub struct Resource {
    kind: Kind,
    name: Arc<str>,
    version: Arc<str>,
    /// An encoded `envoy.service.discovery.v3.Resource`. Its `Any` comes last, and in that the body.
    wire: Bytes,
    any_len: usize,
    body_len: usize,
    references: Arc<[Reference]>,
}

impl Resource {
    /// Encodes a message. The version is a hash of the content; the references are found in the message.
    ///
    /// The generated types keep map fields in hash maps, whose encoded order is random. So equal messages have equal
    /// versions only if no map has more than one entry; encode larger maps in order and call [`Resource::assemble`].
    pub fn encode<M: Body>(name: impl Into<Arc<str>>, message: &M) -> Resource {
        let references = reference::find(message);
        Resource::assemble(M::KIND, name, &message.encode_to_vec(), &[], references)
    }

    /// A resource whose body is the concatenation of the encoded fields `head` and `fields`; the latter may be
    /// shared with other resources. The version is a hash of the content. `references` become
    /// [`Resource::references`]; their order does not matter.
    pub fn assemble(
        kind: Kind,
        name: impl Into<Arc<str>>,
        head: &[u8],
        fields: &[&EncodedFields],
        references: Vec<Reference>,
    ) -> Resource {
        let mut hasher = Sha256::new();
        hasher.update(head);
        let mut length = head.len();
        for field in fields {
            hasher.update(field.digest);
            length += field.bytes.len();
        }
        // 96 bits are enough against accidental collisions. Versions are compared and sent for each resource, so short
        // ones save time and memory.
        let mut version = String::with_capacity(24);
        for byte in &hasher.finalize()[..12] {
            let _ = write!(version, "{byte:02x}"); // Writing to a string does not fail.
        }
        let bodies = std::iter::once(head).chain(fields.iter().map(|field| &*field.bytes));
        Resource::build(
            kind,
            name.into(),
            version.into(),
            length,
            bodies,
            references,
        )
    }

    /// A resource with a given version, as a client received it from a server or read it from a file. The body is not
    /// checked here; a malformed one fails in [`Resource::decode`].
    pub fn received(
        kind: Kind,
        name: impl Into<Arc<str>>,
        version: impl Into<Arc<str>>,
        body: &[u8],
    ) -> Resource {
        let references = reference::decode(kind, body);
        let bodies = std::iter::once(body);
        Resource::build(
            kind,
            name.into(),
            version.into(),
            body.len(),
            bodies,
            references,
        )
    }

    fn build<'a>(
        kind: Kind,
        name: Arc<str>,
        version: Arc<str>,
        body_len: usize,
        bodies: impl Iterator<Item = &'a [u8]>,
        mut references: Vec<Reference>,
    ) -> Resource {
        references.sort();
        references.dedup();
        let (wire, any_len) = wire::resource(&name, &version, kind.type_url(), body_len, bodies);
        Resource {
            kind,
            name,
            version,
            wire,
            any_len,
            body_len,
            references: references.into(),
        }
    }

    /// The kind of the resource.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name, unique within the kind.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The version: an opaque text that is equal exactly when the content is.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The encoded message.
    pub fn body(&self) -> &[u8] {
        &self.wire[self.wire.len() - self.body_len..]
    }

    /// The encoded `google.protobuf.Any` with the message, an element of state-of-the-world responses.
    pub fn any_bytes(&self) -> &[u8] {
        &self.wire[self.wire.len() - self.any_len..]
    }

    /// The encoded `envoy.service.discovery.v3.Resource` with name, version and message, an element of delta responses.
    pub fn wire_bytes(&self) -> &[u8] {
        &self.wire
    }

    /// The resources that this one refers to: the endpoints of an EDS cluster, the route configurations of a listener,
    /// the secrets of either. Sorted, without duplicates.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// If `M` is the message of another kind, or the body is malformed.
    pub fn decode<M: Body>(&self) -> Result<M, DecodeError> {
        if M::KIND != self.kind {
            return Err(DecodeError::Kind {
                found: self.kind,
                wanted: M::KIND,
            });
        }
        M::decode(self.body()).map_err(DecodeError::Malformed)
    }

    /// Decodes an element of a delta response or of a file. The kind comes from the type URL of the body.
    pub fn from_wire(wire: discovery::Resource) -> Result<Resource, DecodeError> {
        let any = wire.resource.ok_or(DecodeError::NoBody)?;
        let kind = Kind::from_type_url(&any.type_url).ok_or(DecodeError::UnknownType {
            type_url: any.type_url,
        })?;
        Ok(Resource::received(
            kind,
            wire.name,
            wire.version,
            &any.value,
        ))
    }
}

/// Encoded protobuf fields that several resources share: encoded, hashed and kept in memory once.
#[derive(Clone)]
pub struct EncodedFields {
    bytes: Bytes,
    digest: [u8; 32],
}

impl EncodedFields {
    /// The encoded fields of a message; [`Resource::assemble`] concatenates them with other fields.
    pub fn new(bytes: impl Into<Bytes>) -> EncodedFields {
        let bytes = bytes.into();
        let digest = Sha256::digest(&bytes).into();
        EncodedFields { bytes, digest }
    }
}

impl fmt::Debug for EncodedFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// Compares kind, name and version; equal versions mean equal bodies.
impl PartialEq for Resource {
    fn eq(&self, other: &Resource) -> bool {
        self.kind == other.kind && self.name == other.name && self.version == other.version
    }
}

impl Eq for Resource {}

/// Omits the body, which may contain a private key.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?}@{} ({} bytes)",
            self.kind, self.name, self.version, self.body_len
        )
    }
}

/// A resource that cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A decode asked for a message of another kind.
    #[error("the resource is of kind {found}, not {wanted}")]
    Kind {
        /// The kind of the resource.
        found: Kind,
        /// The kind of the requested message.
        wanted: Kind,
    },
    /// The resource has no body.
    #[error("the resource has no body")]
    NoBody,
    /// The body is of a type that this crate does not support.
    #[error("unknown resource type {type_url:?}")]
    UnknownType {
        /// The type URL that was found.
        type_url: String,
    },
    /// The bytes are not a well-formed message.
    #[error("malformed message: {0}")]
    Malformed(#[source] prost::DecodeError),
}
