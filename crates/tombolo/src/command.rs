//! The subcommands.

mod app;
mod proxy;
mod server;

use clap::{Parser, Subcommand};

/// The account of development, where none is given.
pub(crate) const DEFAULT_ACCOUNT: &str = "000000000000";
/// The region where none is given.
pub(crate) const DEFAULT_REGION: &str = "us-west-2";

/// One service mesh across many clusters.
#[derive(Parser)]
#[command(name = "tombolo", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Server(server::Server),
    Proxy(proxy::Proxy),
    Envoy(proxy::Envoy),
    Init(proxy::Init),
    #[command(hide = true)]
    App(app::App),
}

/// Runs a subcommand; answers with the exit code.
pub(crate) fn run(arguments: Arguments) -> Result<i32, String> {
    match arguments.command {
        Command::Server(command) => command.run(),
        Command::Proxy(command) => command.run(),
        Command::Envoy(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::App(command) => command.run(),
    }
}

/// A runtime for commands that wait for many things.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))
}
