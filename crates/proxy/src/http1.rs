//! HTTP/1.1, both ends: what a proxy needs of it and no more.
//!
//! One task serves a client connection and drives the upstream connection of its current request itself, so that a
//! request crosses no channel and wakes no second task. [`head`], [`framing`], [`decode`] and [`encode`] do no I/O;
//! [`wire`] is a socket with its buffers; [`server`] and [`client`] are the two ends; [`departures`] gathers what
//! they write.
//!
//! Framing follows RFC 9112 strictly where laxness would let two parties disagree on where a message ends: a request
//! with contradicting lengths or with both a coding and a length is refused; of such a response the coding counts and
//! the connection is not used again; a coding other than `chunked`, line folding and spaces before the colon are errors. What is refused is answered as Envoy answers it.

mod client;
mod date;
mod decode;
mod departures;
mod encode;
mod framing;
mod head;
mod server;
pub(crate) mod spare;
mod target;
#[cfg(test)]
mod tests;
mod whole;
mod wire;

pub(crate) use client::{Link, Outbound, SendError};
pub(crate) use decode::{BadBody, MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS};
pub(crate) use departures::Departures;
pub(crate) use framing::has_token;
pub(crate) use head::Limits;
pub(crate) use server::{Downstream, serve};
pub(crate) use whole::{read_request, read_response};
pub(crate) use wire::Wire;
