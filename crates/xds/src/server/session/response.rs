//! Discovery responses and their encoding.

use std::sync::Arc;

use bytes::BufMut;

use super::Protocol;
use crate::resource::wire::{MAX_FIELD_HEADER_BYTES, RESPONSE_RESOURCES, put_field, put_text};
use crate::resource::{Kind, Resource};

/// A discovery response to send.
#[derive(Clone, Debug)]
pub struct Response {
    /// The kind of the resources.
    pub kind: Kind,
    /// The nonce, unique within the stream.
    pub nonce: String,
    /// The revision of the snapshot.
    pub revision: u64,
    /// The resources to send. In the state-of-the-world protocol: for clusters and listeners, all of them.
    pub resources: Vec<Arc<Resource>>,
    /// Names of resources that were removed or do not exist (delta only).
    pub removed: Vec<Arc<str>>,
}

// The fields of `DeltaDiscoveryResponse`, and of `DiscoveryResponse` except for the last.
const VERSION: u32 = 1;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;
const REMOVED_RESOURCES: u32 = 6;

impl Response {
    /// Appends the encoded `DeltaDiscoveryResponse` or `DiscoveryResponse`, assembled from the encoded resources.
    pub(crate) fn encode(&self, protocol: Protocol, buffer: &mut impl BufMut) {
        put_text(VERSION, &self.revision.to_string(), buffer);
        for resource in &self.resources {
            put_field(RESPONSE_RESOURCES, encoded(resource, protocol), buffer);
        }
        put_text(TYPE_URL, self.kind.type_url(), buffer);
        put_text(NONCE, &self.nonce, buffer);
        for name in &self.removed {
            put_field(REMOVED_RESOURCES, name.as_bytes(), buffer);
        }
    }

    /// A close upper bound of the encoded length, in bytes.
    pub(crate) fn max_encoded_len(&self, protocol: Protocol) -> usize {
        const MAX_REVISION_BYTES: usize = 20;
        let resources = self.resources.iter();
        let fields = resources
            .map(|resource| encoded(resource, protocol).len())
            .chain(self.removed.iter().map(|name| name.len()))
            .chain([
                MAX_REVISION_BYTES,
                self.kind.type_url().len(),
                self.nonce.len(),
            ]);
        fields.map(|length| MAX_FIELD_HEADER_BYTES + length).sum()
    }
}

/// The encoded element of `resources`.
fn encoded(resource: &Resource, protocol: Protocol) -> &[u8] {
    match protocol {
        Protocol::Delta => resource.wire_bytes(),
        Protocol::Sotw => resource.any_bytes(),
    }
}
