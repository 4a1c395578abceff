//! One named piece of configuration, encoded once and shared by everyone who needs it.

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

/// The resource types that this crate carries. The order is that of the variants in
/// every per-kind table; the order on the wire is [`Kind::PUSH_ORDER`].
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

    /// Make before break: kinds that others refer to come before those that refer to them.
    pub const PUSH_ORDER: [Kind; 5] = [
        Kind::Secret,
        Kind::Cluster,
        Kind::Endpoint,
        Kind::Listener,
        Kind::Route,
    ];

    /// Kinds that refer to others are removed first, so that no reference dangles.
    /// Stricter than the reverse of [`Kind::PUSH_ORDER`], which would take the endpoints
    /// from a cluster that still stands.
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

    /// The kind that a type URL names, if this crate carries it.
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

    /// Whether a client that names nothing means "everything": true for clusters and
    /// listeners, which are the roots that all others are reached from.
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

/// Messages that are the body of exactly one [`Kind`].
pub trait Body: Message + Name + Default {
    /// The kind that carries this message.
    const KIND: Kind;

    /// Adds the resources that this message needs to be complete.
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
/// The body stays encoded because most holders (the server, a cache, a file) only pass it
/// on; who needs the message calls [`Resource::decode`]. It is kept in the form in which
/// responses carry it, so that all proxies that hold it share the bytes.
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
    /// Encodes a message; the version is a hash of the content. What it refers to is read from the
    /// message.
    ///
    /// The generated types keep map fields in hash maps, which are encoded in another order each
    /// time. Equal messages have equal versions only if no map has more than one entry; encode larger maps in
    /// order and call [`Resource::assemble`].
    pub fn encode<M: Body>(name: impl Into<Arc<str>>, message: &M) -> Resource {
        let references = reference::find(message);
        Resource::assemble(M::KIND, name, &message.encode_to_vec(), &[], references)
    }

    /// A resource whose body is `head` and then `parts`, which may be shared with other resources: a
    /// message may be cut between its fields. The version is a hash of the content. `references` are
    /// what [`Resource::references`] answers, in any order.
    pub fn assemble(
        kind: Kind,
        name: impl Into<Arc<str>>,
        head: &[u8],
        parts: &[&Part],
        references: Vec<Reference>,
    ) -> Resource {
        let mut hasher = Sha256::new();
        hasher.update(head);
        let mut length = head.len();
        for part in parts {
            hasher.update(part.digest);
            length += part.bytes.len();
        }
        // 96 bits: a collision is out of reach by accident, and versions are compared and
        // sent per resource, so their length is paid for often.
        let mut version = String::with_capacity(24);
        for byte in &hasher.finalize()[..12] {
            let _ = write!(version, "{byte:02x}"); // Writing to a string does not fail.
        }
        let bodies = std::iter::once(head).chain(parts.iter().map(|part| &*part.bytes));
        Resource::build(
            kind,
            name.into(),
            version.into(),
            length,
            bodies,
            references,
        )
    }

    /// A resource whose version somebody else chose: what a client got from a server, or
    /// what was read back from a file. The body is not checked here; a malformed one fails
    /// in [`Resource::decode`].
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

    /// What kind of resource this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name, unique within the kind.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The version: opaque, and equal exactly when the content is equal.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The encoded message.
    pub fn body(&self) -> &[u8] {
        &self.wire[self.wire.len() - self.body_len..]
    }

    /// The encoded `google.protobuf.Any` with the message, as state-of-the-world responses carry it.
    pub fn any_bytes(&self) -> &[u8] {
        &self.wire[self.wire.len() - self.any_len..]
    }

    /// The encoded `envoy.service.discovery.v3.Resource` with name, version and message, as delta
    /// responses carry it.
    pub fn wire_bytes(&self) -> &[u8] {
        &self.wire
    }

    /// The resources that this one needs to be complete: the endpoints of an EDS cluster,
    /// the route table of a listener, the secrets of either. Sorted, without duplicates.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The message. Fails if the body is not an `M`, or `M` is not of this kind.
    pub fn decode<M: Body>(&self) -> Result<M, DecodeError> {
        if M::KIND != self.kind {
            return Err(DecodeError::Kind {
                found: self.kind,
                wanted: M::KIND,
            });
        }
        M::decode(self.body()).map_err(DecodeError::Malformed)
    }

    /// A resource as delta responses and files carry it. The kind comes from the type URL of the body.
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

/// Encoded fields that several resources have in common: encoded, hashed and kept once.
#[derive(Clone)]
pub struct Part {
    bytes: Bytes,
    digest: [u8; 32],
}

impl Part {
    /// A part of a body.
    pub fn new(bytes: impl Into<Bytes>) -> Part {
        let bytes = bytes.into();
        let digest = Sha256::digest(&bytes).into();
        Part { bytes, digest }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// Equal by kind, name and version. The body is not compared: that is what versions are for.
impl PartialEq for Resource {
    fn eq(&self, other: &Resource) -> bool {
        self.kind == other.kind && self.name == other.name && self.version == other.version
    }
}

impl Eq for Resource {}

/// The body is left out: it may hold a private key.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?}@{} ({} bytes)",
            self.kind, self.name, self.version, self.body_len
        )
    }
}

/// Why bytes are not the resource that they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A decode asked for a message of another kind.
    #[error("the resource is of kind {found}, not {wanted}")]
    Kind {
        /// The kind that the resource has.
        found: Kind,
        /// The kind that was asked for.
        wanted: Kind,
    },
    /// The resource has no body.
    #[error("the resource has no body")]
    NoBody,
    /// The body is of a type that this crate does not carry.
    #[error("unknown resource type {type_url:?}")]
    UnknownType {
        /// The type URL that was found.
        type_url: String,
    },
    /// The bytes are not a well-formed message.
    #[error("malformed message: {0}")]
    Malformed(#[source] prost::DecodeError),
}
