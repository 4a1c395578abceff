//! The AWS-shaped front doors, and a client for them.
//!
//! One listener answers App Mesh (`appmesh` 2019-01-25), Cloud Map (`servicediscovery` 2017-03-14) and
//! the one call of STS that every tool makes first. A door decodes a request into a
//! [`tombolo_model::Command`], commits it to the store and encodes the reply; reads go straight to the
//! published view, without a lock. Shapes, error codes and headers follow `facts/aws-wire.md`,
//! `facts/appmesh-api.md` and `facts/cloudmap-api.md`.
//!
//! What this crate deliberately is not: it decides nothing about meshes or registries (that is
//! `tombolo_model::apply()`). Signatures are verified where [`Credentials`] are given; without them any
//! caller is believed, which belongs on loopback (development mode).
//!
//! Read first: [`Server`]. Callers read [`client::Client`].

#![forbid(unsafe_code)]

mod access;
mod appmesh;
pub mod client;
mod cloudmap;
#[doc(hidden)]
pub mod fuzzing;
mod random;
pub mod server;
mod sigv4;
mod sts;
mod watch;
mod wire;

pub use access::Credentials;
pub use server::{Config, Server, Tls};

/// Where the control plane tells how it goes, beside the AWS APIs. The page itself is mounted by whoever
/// knows the proxies.
pub const STATUS_PATH: &str = "/tombolo/v1/status";
