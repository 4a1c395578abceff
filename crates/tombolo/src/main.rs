//! One service mesh across many clusters: the one binary, and the front page of its documentation.
//!
//! This crate only wires. What it wires, from a call to a request that is served the new way:
//!
//! | crate | what | read first |
//! | --- | --- | --- |
//! | [`tombolo_api`] | AWS APIs: recognise, verify, authorize, decode | `Server` |
//! | [`tombolo_model`] | every rule, pure | `apply` |
//! | [`tombolo_store`] | durable commits, views, watches | `Store` |
//! | [`tombolo_plan`] | what each workload's proxies should do | `plan::Plan` |
//! | [`tombolo_xds`] | the protocol, both ends | `server::session` |
//! | [`tombolo_proxy`] | the data plane | `proxy` |
//! | [`tombolo_dns`] | names of namespaces and clusters | `Server` |
//! | [`tombolo_health`] | health checks of instances | `run` |
//! | [`tombolo_kubernetes`] | API servers of Kubernetes clusters | `cluster::KubernetesCluster` |
//! | [`tombolo_local`] | clusters and pods on this machine | `daemon` |
//! | [`tombolo_linux`] | namespaces, links, rules: the kernel | `sandbox` |
//! | [`tombolo_operator`] | `/tombolo/v1` | `Status` |
//! | [`tombolo_cli`] | the commands that talk to something that runs | `Get` |
//!
//! `tombolo_kube` (Kubernetes kinds, pure) and `tombolo_telemetry` (supervised tasks, metrics, logs) are used by
//! these. Commands that run something here are files in [`command`]. See ARCHITECTURE.md for the picture.

#![deny(unsafe_code)]

mod command;
mod listen;
mod logging;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The local runtime re-executes this program inside its own namespaces.
    if let Some(code) = tombolo_local::daemon::main() {
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
