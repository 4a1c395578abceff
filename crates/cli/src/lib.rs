//! The commands that users run against a mesh: get, describe, apply, diff, delete, status, doctor and others.
//!
//! Each verb is a module named after it: a struct of arguments with `run()`, which returns the exit code. Objects
//! come from a [`backend::Backend`]: the clusters of a running `tombolo up`, or a control plane by its AWS APIs; a
//! kubeconfig context would be the third. [`resource`] has the resources of a control plane. All output passes
//! [`terminal`], because names and messages come from untrusted sources.
//!
//! This crate starts nothing and stores nothing: the binary starts servers, sidecars and clusters.
//!
//! Read first: [`backend::Backend`], then [`Get`].

#![forbid(unsafe_code)]

mod age;
mod apply;
mod backend;
mod columns;
mod control_plane;
mod convert;
mod delete;
mod describe;
mod diff;
mod discover;
mod down;
mod env;
mod error;
mod exec;
mod get;
mod json;
mod local;
mod logs;
mod network;
mod output;
mod progress;
mod registry;
mod resource;
mod scale;
mod status;
mod table;
mod target;
pub mod terminal;

pub use apply::Apply;
pub use convert::Convert;
pub use delete::Delete;
pub use describe::Describe;
pub use diff::Diff;
pub use discover::Discover;
pub use down::Down;
pub use env::Env;
pub use error::{Error, Result};
pub use exec::Exec;
pub use get::Get;
pub use logs::Logs;
pub use network::Network;
pub use registry::Registry;
pub use scale::Scale;
pub use status::{Doctor, Status};

/// The default account.
pub const DEFAULT_ACCOUNT: &str = "111122223333";
/// The default region.
pub const DEFAULT_REGION: &str = "us-west-2";

/// Runs a command on a multi-threaded runtime.
fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(Error::Threads)?.block_on(command)
}
