//! The DNS server of the Cloud Map registry and of clusters.
//!
//! A [`Server`] queries its [`Zone`]s in order; queries for names in no zone go to the [`Forwarder`], or are refused.
//! There are two zones: [`Registry`] publishes the Cloud Map namespaces of the store
//! (facts/cloudmap-api.md §10), [`Clusters`] gives each cluster of the local runtime its own
//! `cluster.local`, selected by the client's address.
//!
//! This crate is deliberately not a recursive resolver (it never walks from the root), not a cache (every
//! answer is made from the newest state), and not a signer (no DNSSEC). It parses queries and writes answers
//! itself, without allocations; `hickory-proto` parses and writes the answers of upstreams, and the tests
//! compare with it.
//!
//! Read first: [`Zone`], then `responder`, which turns one packet into one answer without I/O.

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
