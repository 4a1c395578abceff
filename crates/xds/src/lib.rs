//! The server and the client of the xDS protocol (v3, aggregated): the server sends configuration to Envoy and to
//! Tombolo's own proxies; the client is part of the latter.
//!
//! This crate knows only the protocol. It deliberately knows nothing of meshes and neither builds nor applies
//! configuration: the planner makes [`Snapshot`]s, a proxy consumes [`client::Update`]s, and this crate
//! transfers one to the other, in an order that never breaks traffic, with an ACK or NACK for every resource.
//!
//! Read [`Resource`] first, then [`Snapshot`]; the protocol itself is in
//! [`server::session`], without I/O.

#![forbid(unsafe_code)]

pub mod client;
pub mod node;
mod propagation;
pub mod relay;
pub mod resource;
mod sanitize;
pub mod server;
pub mod snapshot;

pub use envoy_types as envoy;
pub use tonic::{Code, Status};

pub use client::{Client, ClientOptions};
pub use node::Node;
pub use propagation::Propagation;
pub use resource::{Kind, Resource};
pub use server::Server;
pub use server::connected_proxies::ConnectedProxies;
pub use snapshot::Snapshot;

#[cfg(test)]
#[path = "../tests/sample/mod.rs"]
mod sample;

#[cfg(test)]
mod random_mesh;
