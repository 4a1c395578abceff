//! Logs of the long-running commands, to standard error.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging. `TOMBOLO_LOG` chooses what is logged, in the syntax of `tracing-subscriber`.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_env("TOMBOLO_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A standard error that takes no more, on a full disk, must not become a panic of whoever logs.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
