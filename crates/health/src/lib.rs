//! Health checks of registered instances by the server, as Route 53 made them for Cloud Map.
//!
//! Each instance of a service with a `HealthCheckConfig` is probed at an interval, over HTTP, HTTPS or TCP.
//! `FailureThreshold` consecutive results of one kind change the instance's health, which discovery and DNS
//! follow (facts/cloudmap-api.md §8).
//!
//! What this crate deliberately is not: it does not decide who may discover an unhealthy instance, and it elects no
//! replica: the one that leads calls [`run`].
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
