//! HTTP/1.1, both ends: what a proxy needs of it and no more.
//!
//! One task serves a client connection and drives the upstream connection of its current request itself, so that a
//! request crosses no channel and wakes no second task. [`head`], [`framing`], [`decode`] and [`encode`] do no I/O;
//! [`buffered_stream`] is a socket with its buffers; [`connection`] is what [`server`] and [`client`], the two ends,
//! share; [`deferred_writes`] gathers what they write.
//!
//! Framing follows RFC 9112 strictly where laxness would let two parties disagree on where a message ends: a request
//! with contradicting lengths or with both a coding and a length is refused; of such a response the coding counts and
//! the connection is not used again; a coding other than `chunked`, line folding and spaces before the colon are
//! errors. What is refused is answered as Envoy answers it.

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
mod request_target;
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
