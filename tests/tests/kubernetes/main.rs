//! The clusters of Kubernetes themselves: what tests of the mesh on them stand on.

mod commands;
mod dns;
mod images;
mod load_balancers;
mod network;
mod pods;

use std::process::{Command, Output};
use tombolo_tests::kubernetes::Kubernetes;

/// A program that answers over HTTP and prints who asked.
const SERVER: [&str; 5] = ["httpd", "-f", "-v", "-p", "8080"];

/// Runs a task of `cargo xtask kubernetes`.
fn run(kubernetes: &Kubernetes, words: &[&str]) -> Output {
    let mut command = Command::new(kubernetes.xtask());
    command.arg("kubernetes").args(words);
    command.output().expect("the copy of xtask starts")
}

/// Runs a task of `cargo xtask kubernetes` that succeeds.
#[track_caller]
fn xtask(kubernetes: &Kubernetes, words: &[&str]) {
    let output = run(kubernetes, words);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {told}");
}
