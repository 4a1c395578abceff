//! HTTP/1.1, both ends: the subset that a proxy needs.
//!
//! One task serves a client connection and drives the upstream connection of its current request itself, so that a
//! request crosses no channel and wakes no second task. [`head`], [`framing`], [`body_decoder`] and [`encode`] do no
//! I/O; [`buffered_stream`] is a socket with its buffers; [`connection`] is shared by [`server`] and [`client`], the
//! two ends; [`deferred_writes`] batches their writes.
//!
//! Framing follows RFC 9112 strictly where laxness would let two parties disagree on the end of a message: a request
//! with contradicting lengths or with both a coding and a length is refused; in such a response the coding counts and
//! the connection is not reused; a coding other than `chunked`, line folding and spaces before the colon are errors.
//! Refusals are answered as Envoy answers them.

mod body_decoder;
mod buffered_stream;
mod client;
mod connection;
mod date_header;
mod deferred_writes;
mod encode;
mod framing;
pub mod fuzzing;
mod head;
pub(crate) mod header_pool;
mod request_line;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use body_decoder::{BodyDecodeError, MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS};
pub(crate) use buffered_stream::BufferedStream;
pub(crate) use client::{SendError, UpstreamConnection};
pub(crate) use deferred_writes::WriteCoalescer;
pub(crate) use encode::OutgoingHead;
pub(crate) use framing::has_token;
pub(crate) use head::Limits;
pub(crate) use server::{DownstreamConnection, serve};
