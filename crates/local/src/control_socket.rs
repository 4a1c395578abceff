//! The interface of the runtime to the command line: HTTP over a Unix socket, and `exec` over a second one.

mod client;
pub(crate) mod exec_and_logs;
mod exec_fd_passing;
pub(crate) mod run_dir;
mod selection;
pub(crate) mod server;
pub(crate) mod status_summary;
mod types;

pub use client::{Client, Error};
pub use run_dir::RunDirError;
pub use selection::Selector;
pub use status_summary::pod_of_document;
pub use types::*;
