//! Test kit for whole-mesh tests: real programs, started and driven from a test.
//!
//! A test asks for its requirements ([`need`]); without them it prints `SKIPPED` and the reason, and fails in CI.
//! Programs are child processes that are killed with their handle ([`Program`]); conditions are awaited with a
//! deadline ([`until`]), never with a fixed sleep. Nothing here knows a rule of the mesh.
//!
//! Read first: [`Server`], then a test in `tests/`.

#![forbid(unsafe_code)]

pub mod aws;
pub mod boto;
pub mod corpus;
mod etcd;
pub mod history;
pub mod http;
pub mod kubernetes;
pub mod manifests;
pub mod mesh;
pub mod model;
mod program;
pub mod registers;
mod server;
mod up;
mod user;
mod wait;

pub use etcd::Etcd;
pub use program::Program;
pub use server::{ACCOUNT, REGION, Server};
pub use tombolo_need::variable as need;
pub use up::{Clusters, ProxyKind, Up, proxy_arguments, run_name};
pub use user::{Home, User, runs};
pub use wait::{free_port, until, until_within};
