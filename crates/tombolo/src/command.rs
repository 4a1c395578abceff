//! The subcommands.

mod app;
mod apply;
mod delete;
mod demo;
mod down;
mod dump;
mod env;
mod exec;
mod get;
mod instances;
mod network;
mod output;
mod proxy;
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
    Status(status::Status),
    Doctor(status::Doctor),
    Apply(apply::Apply),
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
        Command::Status(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Apply(command) => command.run(),
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

/// Signs a request for a control plane's own paths with the caller's AWS credentials, for the caller's
/// region.
fn sign<B>(request: &mut http::Request<B>, body: &[u8]) -> Result<(), String> {
    let region = std::env::var("AWS_REGION").or_else(|_| std::env::var("AWS_DEFAULT_REGION"));
    let region = region.as_deref().unwrap_or(DEFAULT_REGION);
    tombolo_api::client::Keys::from_environment().sign_operator(region, request, body)
}

/// What a control plane says about a request that it refused.
fn refusal(status: http::StatusCode, body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let code = json["__type"].as_str().unwrap_or_default();
    match (status.as_u16(), json["message"].as_str()) {
        (400 | 403, Some(message)) if code.ends_with("Exception") => format!(
            "{code}: {message} (the credentials are those in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
             the region is that in AWS_REGION)"
        ),
        (_, Some(message)) => format!("{status}: {message}"),
        (_, None) => status.to_string(),
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
