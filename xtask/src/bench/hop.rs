//! `cargo xtask bench hop`.

use crate::{
    process::{self, Result, cargo, is_installed, root},
    tools::{Tools, debian},
};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let tools = Tools::fetch()?;
    let peers = [("nginx", "nginx-light"), ("haproxy", "haproxy")];
    let missing: Vec<&str> = peers
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, p)| *p)
        .collect();
    if !missing.is_empty() {
        // The benchmark says which peer is absent; without them it still compares with Envoy.
        if let Err(error) = debian(&missing) {
            eprintln!("{error}");
        }
    }
    process::run(cargo().args(["build", "--release", "--package", "tombolo"]))?;
    process::run(
        cargo()
            .args([
                "run",
                "--release",
                "--package",
                "tombolo-benches",
                "--",
                "hop",
            ])
            .args(words)
            .env("TOMBOLO_BIN", root().join("target/release/tombolo"))
            .env("TOMBOLO_ENVOY", tools.envoy()?),
    )
}
