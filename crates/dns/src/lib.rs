//! Names answered from the registry and from clusters.
//!
//! A [`Server`] asks its [`Zone`]s in order; what no zone knows goes to the [`Forwarder`], or is refused.
//! Two zones exist: [`Registry`] publishes the Cloud Map namespaces of the store
//! (facts/cloudmap-api.md §10), [`Clusters`] gives each cluster of the local runtime its own
//! `cluster.local`, distinguished by the client's address.
//!
//! What this crate deliberately is not: a recursive resolver (it never walks from the root), a cache
//! (every answer is made from the newest state, so it is never stale), or a signer (no DNSSEC).
//! Questions are read and answers written by the crate itself, straight from and into the bytes on the
//! wire; `hickory-proto` reads and writes the answers of upstreams, and is what the tests compare with.
//!
//! Read first: [`Zone`], then `responder`, which turns one packet into one answer without any I/O.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod limit;
mod message;
pub mod metrics;
mod name;
#[cfg(test)]
mod probe;
mod question;
pub mod range;
mod record;
pub mod registry;
mod reply;
mod responder;
mod server;
pub mod zone;

pub use cluster::Clusters;
pub use forward::Forwarder;
pub use metrics::Metrics;
pub use record::RecordType;
pub use registry::Registry;
pub use reply::Reply;
pub use server::Server;
pub use zone::{Query, Verdict, Zone};
