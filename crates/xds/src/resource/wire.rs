//! Protobuf encoding of resources and responses from bytes that are already encoded.
//!
//! With prost, the bodies would be decoded and encoded again for each proxy.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// The maximum length of a field's header: the key (1 byte for numbers up to 15) and the length (10 bytes).
pub(crate) const MAX_FIELD_HEADER_BYTES: usize = 11;

/// Writes the header of a length-delimited field.
fn put_header(number: u32, length: usize, buffer: &mut impl BufMut) {
    encode_key(number, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

/// Writes a length-delimited field.
pub(crate) fn put_field(number: u32, content: &[u8], buffer: &mut impl BufMut) {
    put_header(number, content.len(), buffer);
    buffer.put_slice(content);
}

/// Writes a string field; an empty one is omitted, as in proto3.
pub(crate) fn put_text(number: u32, text: &str, buffer: &mut impl BufMut) {
    if !text.is_empty() {
        put_field(number, text.as_bytes(), buffer);
    }
}

/// The encoded length of a length-delimited field with its header, for numbers up to 15.
fn field_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// The length of the field that [`put_text`] writes.
fn text_len(text: &str) -> usize {
    if text.is_empty() {
        0
    } else {
        field_len(text.len())
    }
}

// The fields of `google.protobuf.Any` and of `envoy.service.discovery.v3.Resource`.
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;
const RESOURCE_VERSION: u32 = 1;
const RESOURCE_BODY: u32 = 2;
const RESOURCE_NAME: u32 = 3;

/// `resources` of both kinds of discovery response.
pub(crate) const RESPONSE_RESOURCES: u32 = 2;

/// An encoded `envoy.service.discovery.v3.Resource`, and the length of the `Any` at its end, which ends with
/// the message.
pub(super) fn resource<'a>(
    name: &str,
    version: &str,
    type_url: &str,
    body_len: usize,
    bodies: impl Iterator<Item = &'a [u8]>,
) -> (Bytes, usize) {
    let any_len = text_len(type_url) + field_len(body_len);
    let length = text_len(name) + text_len(version) + field_len(any_len);
    let mut buffer = BytesMut::with_capacity(length);
    put_text(RESOURCE_NAME, name, &mut buffer);
    put_text(RESOURCE_VERSION, version, &mut buffer);
    put_header(RESOURCE_BODY, any_len, &mut buffer);
    put_text(ANY_TYPE_URL, type_url, &mut buffer);
    put_header(ANY_VALUE, body_len, &mut buffer);
    for body in bodies {
        buffer.put_slice(body);
    }
    debug_assert_eq!(buffer.len(), length);
    (buffer.freeze(), any_len)
}
