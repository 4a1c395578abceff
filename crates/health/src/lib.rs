//! Health checks of registered instances by the server, as Route 53 made them for Cloud Map.
//!
//! Each instance of a service with a `HealthCheckConfig` is probed periodically, over HTTP, HTTPS or TCP.
//! `FailureThreshold` consecutive equal results change the instance's health, which discovery and DNS
//! use (facts/cloudmap-api.md §8).
//!
//! This crate deliberately does not filter unhealthy instances, and elects no leader: the leading replica calls
//! [`run()`].
//!
//! Read first: [`schedule`], which has no I/O; then [`run()`].

#![forbid(unsafe_code)]

mod metrics;
mod probe;
mod run;
mod schedule;
mod target;

pub use metrics::Metrics;
pub use run::{Options, run};
