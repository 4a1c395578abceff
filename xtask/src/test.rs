//! All tests, with everything they need.

use crate::{
    process::{self, Result, cargo, root},
    tidy,
    tools::Tools,
};
use std::path::PathBuf;

pub(crate) fn run(words: &[&str]) -> Result<()> {
    tidy::run()?;
    let tools = Tools::fetch()?;
    // The whole-mesh tests drive the released build.
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
    if let Some(corpus) = corpus() {
        test.env("TOMBOLO_CORPUS", corpus);
    }
    process::run(&mut test)
}

/// The public walkthroughs when no variable names their folder: `shared/corpus` beside the checkout. `None` when it
/// does not exist; the tests that need it are then skipped, which is a failure with `CI=true`.
fn corpus() -> Option<PathBuf> {
    if std::env::var_os("TOMBOLO_CORPUS").is_some() {
        return None;
    }
    let beside = root().join("../shared/corpus");
    beside.canonicalize().ok().filter(|path| path.is_dir())
}
