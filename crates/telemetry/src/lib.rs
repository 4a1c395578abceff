//! The runtime support of each process of Tombolo: supervised tasks, shutdown, metrics, request ids.
//!
//! A [`Supervisor`] runs the named tasks of a process. A task that fails either ends the process or is
//! restarted with backoff, as configured; a shutdown drains the tasks stage by stage, each stage with
//! a timeout. A [`RequestId`] identifies an API call in logs, commits and pushes.
//!
//! This crate deliberately has no tasks of its own and serves nothing: the process decides which metrics are
//! served where.
//!
//! Read first: [`Supervisor`].

#![forbid(unsafe_code)]

mod error_chain;
pub mod listen;
pub mod metrics;
mod outage;
mod request_id;
pub mod supervisor;

pub use error_chain::ErrorChain;
pub use outage::Outage;
pub use request_id::{Causes, RequestId};
pub use supervisor::Supervisor;
