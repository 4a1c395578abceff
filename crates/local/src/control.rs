//! The runtime as others talk to it: HTTP over a unix socket, and `exec` over a second one.

pub mod client;
mod exec;
mod query;
pub(crate) mod reach;
pub mod run_dir;
pub(crate) mod server;
pub mod summary;
pub mod types;

pub use client::{Client, Error};
pub use query::Selector;
pub use types::*;
