//! Benchmarks that print ratios against peers measured in the same run.

pub(crate) mod api;
pub(crate) mod dns;
pub(crate) mod hop;
pub(crate) mod propagate;
pub(crate) mod registry;
pub(crate) mod replicas;

use crate::{
    process::{self, Result, cargo, is_installed, root},
    tools::debian,
};
use std::process::Command;

/// A benchmark, ready to be run with the program that users run.
fn prepare(name: &str, words: &[&str]) -> Result<Command> {
    process::run(cargo().args(["build", "--release", "--package", "tombolo"]))?;
    let mut bench = cargo();
    bench
        .args(["run", "--release", "--package", "tombolo-benches", "--"])
        .arg(name)
        .args(words)
        .env("TOMBOLO_BIN", root().join("target/release/tombolo"));
    Ok(bench)
}

/// Installs the peers that are missing, each a program and its Debian package. Without them the benchmark
/// still runs, and says who is absent.
fn install_peers(peers: &[(&str, &str)]) {
    let missing: Vec<&str> = peers
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty()
        && let Err(error) = debian(&missing)
    {
        eprintln!("{error}");
    }
}
