//! One service mesh across many clusters: the one binary.
//!
//! This crate only wires. Commands that talk to something that runs are those of `tombolo_cli`; a subcommand
//! that runs something here is a file in [`command`] that reads its arguments and calls the crate that does the
//! work.

#![deny(unsafe_code)]

mod command;
mod listen;
mod logging;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The local runtime re-executes this program inside its own namespaces.
    if let Some(code) = tombolo_local::node::main() {
        return exit_code(code);
    }
    let arguments = command::Arguments::parse();
    match command::run(arguments) {
        Ok(code) => exit_code(code),
        Err(error) => {
            tombolo_cli::terminal::error(&*error);
            ExitCode::FAILURE
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
