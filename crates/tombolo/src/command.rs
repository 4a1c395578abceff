//! The subcommands.

mod app;
mod apply;
mod call;
mod delete;
mod demo;
mod describe;
mod down;
mod dump;
mod env;
mod exec;
mod get;
mod instances;
mod network;
mod output;
mod proxy;
mod resource;
mod run;
mod scale;
mod server;
mod status;
mod storage;
mod target;
mod up;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The account of development, where none is given.
pub(crate) const DEFAULT_ACCOUNT: &str = "111122223333";
/// The region where none is given.
pub(crate) const DEFAULT_REGION: &str = "us-west-2";

/// One service mesh across many clusters.
#[derive(Parser)]
#[command(
    name = "tombolo",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Up(up::Up),
    Get(get::Get),
    Describe(describe::Describe),
    Status(status::Status),
    Doctor(status::Doctor),
    Apply(apply::Apply),
    Diff(apply::Diff),
    Delete(delete::Delete),
    Scale(scale::Scale),
    Exec(exec::Exec),
    Logs(exec::Logs),
    Discover(instances::Discover),
    Network(network::Network),
    Env(env::Env),
    Down(down::Down),
    Server(server::Server),
    Export(dump::Export),
    Import(dump::Import),
    Proxy(proxy::Proxy),
    Envoy(proxy::Envoy),
    Init(proxy::Init),
    #[command(hide = true)]
    App(app::App),
}

/// Runs a subcommand; answers with the exit code.
pub(crate) fn run(arguments: Arguments) -> Result<i32, String> {
    match arguments.command {
        Command::Demo(command) => command.run(),
        Command::Up(command) => command.run(),
        Command::Get(command) => command.run(),
        Command::Describe(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Apply(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Delete(command) => command.run(),
        Command::Scale(command) => command.run(),
        Command::Exec(command) => command.run(),
        Command::Logs(command) => command.run(),
        Command::Discover(command) => command.run(),
        Command::Network(command) => command.run(),
        Command::Env(command) => command.run(),
        Command::Down(command) => command.run(),
        Command::Server(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Import(command) => command.run(),
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

/// This program, for the processes that it starts of itself. The link is kept: it names the running
/// file even when that was replaced by a newer build.
fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this program's file: {error}"))
}
