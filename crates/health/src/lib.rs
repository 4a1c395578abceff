//! Health checks of registered instances, made by the server: what Route 53 did for Cloud Map.
//!
//! A service whose `HealthCheckConfig` is set has each of its instances asked at an interval, over HTTP,
//! HTTPS or TCP. As many equal results in a row as the threshold says turn an instance's health, which
//! discovery and DNS follow (facts/cloudmap-api.md §8).
//!
//! What this crate deliberately is not: it decides nothing about who may discover an unhealthy instance,
//! and it makes no checks of its own accord: whoever holds the lead among replicas calls [`run`].
//!
//! Read first: [`schedule`], which has no I/O; then [`run`].

#![forbid(unsafe_code)]

mod metrics;
mod probe;
mod run;
mod schedule;
mod target;

pub use metrics::Metrics;
pub use run::{Options, run};
