//! The SDK for JavaScript, from npm, installed from its lock file.
//!
//! Node.js and npm come with the Python packages, so that no machine needs them.

use crate::process::{Result, root, run};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The package lists.
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Installs missing packages; their directory.
pub(super) fn fetch(node: &Path) -> Result<PathBuf> {
    let source = root().join("tests/tests/clients/javascript");
    let environment = root().join("target/tools/node");
    let packages = environment.join("node_modules");
    // The lists of the last completed installation.
    let stamp = environment.join("installed.json");
    let mut wanted = String::new();
    for name in LISTS {
        wanted += &read(&source.join(name))?;
    }
    if read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(packages);
    }
    fs::create_dir_all(&environment).map_err(|e| format!("{}: {e}", environment.display()))?;
    for name in LISTS {
        let (from, to) = (source.join(name), environment.join(name));
        fs::copy(&from, &to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    let npm = node
        .ancestors()
        .nth(2)
        .expect("node lies in a directory for programs")
        .join("lib/node_modules/npm/bin/npm-cli.js");
    run(Command::new(node)
        .arg(npm)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&environment))?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(packages)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
