//! The APIs of AWS that Tombolo implements, and a client of them.
//!
//! One listener answers App Mesh (`appmesh` 2019-01-25), Cloud Map (`servicediscovery` 2017-03-14), STS's
//! `GetCallerIdentity`, which every tool calls first, and `AssumeRoleWithWebIdentity`, EKS's `DescribeCluster`, which
//! controllers call, and `GetResources` of the Resource Groups Tagging API, which generic tag tools call. A request
//! is parsed once, into a typed operation; policies authorize it; then it is executed: as a
//! [`tombolo_model::Command`] that is committed to the store, or by reading the published view, without a lock.
//! Shapes, error codes and headers follow `facts/aws-wire.md`, `facts/appmesh-api.md` and `facts/cloudmap-api.md`.
//!
//! This crate deliberately has no rules of meshes or registries (those are in `tombolo_model::apply()`). Signatures are
//! verified if [`Credentials`] are given; without them any caller is trusted, which is for loopback only (development
//! mode).
//!
//! Read first: [`Server`]. Callers read [`client::Client`].

#![forbid(unsafe_code)]

mod access;
mod appmesh;
pub mod authority;
mod call;
pub mod client;
mod cloudmap;
mod eks;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod hot_reload;
mod metrics;
mod oidc;
mod operation;
pub mod proxy_access;
mod random;
pub mod server;
mod service;
mod sigv4;
mod sts;
mod tagging;
mod wire;

pub use access::Credentials;
pub use authority::Authority;
pub use eks::Clusters;
pub use hot_reload::FileError;
pub use proxy_access::ProxyAccess;
pub use server::{Config, Server, Tls};

/// The names of all implemented operations, by the service's name in signatures.
pub fn operations() -> Vec<(&'static str, Vec<String>)> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    vec![
        ("appmesh", appmesh::Operation::names()),
        ("servicediscovery", owned(cloudmap::Operation::NAMES)),
        ("eks", owned(eks::Operation::NAMES)),
        ("sts", owned(sts::Operation::NAMES)),
        ("tagging", owned(tagging::Operation::NAMES)),
    ]
}
