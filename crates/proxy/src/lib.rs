//! The data plane: a sidecar and gateway proxy for HTTP/1, HTTP/2 and raw TCP, driven by xDS.
//!
//! Envoy's v3 resources are its configuration language, so that any xDS server can drive it and Envoy can be its
//! oracle. It understands a subset; a field outside the subset that would change behaviour rejects its resource by
//! name and reason, never silently.
//!
//! It is not a policy engine: meshes, virtual nodes and Istio objects are unknown to it; it has listeners, routes,
//! clusters and endpoints. It has no TLS yet, no HTTP filters but the router, and no statistical outlier detection.
//!
//! Read [`Options`] first, then [`run`]. Inside, `control` prepares a `Generation` off the request path, and each
//! `worker` serves with it, sharing nothing with the others while a request is under way.
#![forbid(unsafe_code)]

mod access_log;
mod admin;
pub mod bootstrap_for_envoy;
mod cluster_runtime;
mod config;
mod control;
mod descriptor_budget;
mod generation;
mod http;
mod http1;
mod metrics;
mod options;
mod original_dst;
mod protocol_detection;
mod proxy;
mod tcp_proxy;
mod upstream;
mod worker;

#[doc(hidden)]
pub use http1::fuzzing;
pub use options::{Options, OptionsError};
pub use proxy::{Error, Proxy, run};
