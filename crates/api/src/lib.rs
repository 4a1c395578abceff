//! The AWS-shaped APIs, and a client for them.
//!
//! One listener answers App Mesh (`appmesh` 2019-01-25), Cloud Map (`servicediscovery` 2017-03-14), the one
//! call of STS that every tool makes first, and the one call of the Resource Groups Tagging API that generic
//! tag tools make. A request is read once, into a typed operation; policies are asked about it; then it carries
//! itself out: as a [`tombolo_model::Command`] that is committed to the store, or by reading the published
//! view, without a lock. Shapes, error codes and headers follow `facts/aws-wire.md`, `facts/appmesh-api.md`
//! and `facts/cloudmap-api.md`.
//!
//! What this crate deliberately is not: it decides nothing about meshes or registries (that is
//! `tombolo_model::apply()`). Signatures are verified where [`Credentials`] are given; without them any
//! caller is believed, which belongs on loopback (development mode).
//!
//! Read first: [`Server`]. Callers read [`client::Client`].

#![forbid(unsafe_code)]

mod access;
mod appmesh;
mod call;
pub mod client;
mod cloudmap;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod operation;
mod random;
pub mod server;
mod service;
mod sigv4;
mod sts;
mod tagging;
mod watch;
mod wire;

pub use access::Credentials;
pub use server::{Config, Server, Tls};
pub use watch::FileError;

/// The names of all operations that are answered, by the name that signatures have for their service.
pub fn operations() -> Vec<(&'static str, Vec<String>)> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    vec![
        ("appmesh", appmesh::Operation::names()),
        ("servicediscovery", owned(cloudmap::Operation::NAMES)),
        ("sts", owned(sts::Operation::NAMES)),
        ("tagging", owned(tagging::Operation::NAMES)),
    ]
}
