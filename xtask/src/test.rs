//! All tests, with everything they need.

use crate::{
    process::{self, Result, cargo, root},
    tidy,
    tools::Tools,
};

pub(crate) fn run(words: &[&str]) -> Result<()> {
    tidy::run()?;
    let tools = Tools::fetch()?;
    // The whole-mesh tests drive the program that users run, in the build that users run.
    process::run(cargo().args(["build", "--release", "--package", "tombolo"]))?;
    let mut test = cargo();
    test.args(["test", "--workspace"])
        .args(words)
        .env("TOMBOLO_BIN", root().join("target/release/tombolo"))
        .env("TOMBOLO_ENVOY", tools.envoy()?)
        .env("TOMBOLO_AWS", tools.program("aws"))
        .env("TOMBOLO_PYTHON", tools.program("python"))
        .env("TOMBOLO_NODE", tools.node())
        .env("TOMBOLO_NODE_MODULES", tools.node_modules());
    process::run(&mut test)
}
