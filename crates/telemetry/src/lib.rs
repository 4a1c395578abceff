//! Supervised tasks and their shutdown, metrics, request ids: the frame of each process of Tombolo.
//!
//! A [`Supervisor`] runs the named tasks of a process. A task that fails either ends the process or is
//! restarted with backoff, as its owner chose; a shutdown drains the tasks stage by stage, each stage with
//! a deadline. A [`RequestId`] names an API call in everything that it leads to.
//!
//! What this crate deliberately is not: it knows no task, and it serves nothing: the process decides which metrics are
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
