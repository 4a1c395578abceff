//! `cargo xtask bench propagate`.

use crate::process::{self, Result, cargo, root};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    process::run(cargo().args(["build", "--release", "--package", "tombolo"]))?;
    process::run(
        cargo()
            .args([
                "run",
                "--release",
                "--package",
                "tombolo-benches",
                "--",
                "propagate",
            ])
            .args(words)
            .env("TOMBOLO_BIN", root().join("target/release/tombolo")),
    )
}
