//! Real clients with only their endpoints set drive every operation of App Mesh, Cloud Map and STS: boto3, the `aws`
//! CLI and the SDK for JavaScript. Each of their scripts counts the calls that succeeded, and fails when an operation
//! of the client's own model is missing among them.
//!
//! The scripts are beside this file, in the language of their client.

#![forbid(unsafe_code)]

mod verified;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tombolo_tests::{Etcd, Program, Server, need};
use verified::Verified;

/// Deadline of one script on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);

#[test]
fn boto3_drives_every_operation() {
    with_open_server(Server::start(), |api| python("sdk", api));
}

#[test]
fn boto3_drives_every_operation_of_a_replica() {
    let Some(etcd) = Etcd::start(1) else {
        return;
    };
    let server = Server::replica(&etcd.address());
    with_open_server(server, |api| python("sdk", api));
}

#[test]
fn boto3_drives_every_operation_with_its_signature_verified() {
    with_verifying_server(|api| python("sdk", api));
}

#[test]
fn the_command_line_drives_every_operation_with_its_signature_verified() {
    with_verifying_server(|api| python("cli", api));
}

#[test]
fn every_resource_goes_through_the_cycle_of_a_planning_tool() {
    with_verifying_server(|api| python("cycle", api));
}

#[test]
fn the_sdk_for_javascript_drives_every_operation() {
    with_open_server(Server::start(), |_| javascript());
}

#[test]
fn the_sdk_for_javascript_drives_every_operation_with_its_signature_verified() {
    with_verifying_server(|_| javascript());
}

/// A package of the Python scripts.
fn python(package: &str, api: SocketAddr) -> Option<Command> {
    let mut command = Command::new(need("TOMBOLO_PYTHON")?);
    command
        .args(["-u", "-m", package])
        .current_dir(scripts("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TOMBOLO_API", format!("http://{api}"));
    Some(command)
}

fn javascript() -> Option<Command> {
    let mut command = Command::new(need("TOMBOLO_NODE")?);
    command
        .arg(scripts("javascript").join("main.js"))
        .env("NODE_PATH", need("TOMBOLO_NODE_MODULES")?);
    Some(command)
}

fn scripts(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(language)
}

/// A server that accepts any credentials, as on a laptop.
fn with_open_server(server: Option<Server>, script: impl FnOnce(SocketAddr) -> Option<Command>) {
    let Some(server) = server else {
        return;
    };
    let Some(mut command) = script(server.api()) else {
        return;
    };
    server.aws().environment(&mut command);
    run(command, server.directory());
}

fn with_verifying_server(script: impl FnOnce(SocketAddr) -> Option<Command>) {
    let Some(server) = Verified::start() else {
        return;
    };
    let Some(mut command) = script(server.api()) else {
        return;
    };
    server.environment(&mut command);
    run(command, server.directory());
}

/// A script prints its failure, and ends with an error.
#[track_caller]
fn run(mut command: Command, directory: &Path) {
    // The host names of some clients only exist on this machine.
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    let mut script = Program::start(&mut command, &directory.join("script"));
    let status = script.wait(DEADLINE);
    assert!(status.success(), "{status}\n{}", script.log());
    print!("{}", script.log());
}
