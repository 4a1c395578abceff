//! The CustomResourceDefinitions of the chart, written from the types.

use crate::process::{Result, cargo, output, root};
use std::fs;

/// Where the definitions are, from the root: `kubectl apply -f` takes the file, `kubectl apply -k` its folder.
const PATH: &str = "deploy/helm/appmesh-controller/crds/crds.yaml";

/// Writes the definitions; with `check` it only compares.
pub(crate) fn run(check: bool) -> Result<()> {
    let written = output(cargo().args([
        "run",
        "--quiet",
        "--package",
        "tombolo-kube",
        "--example",
        "crds",
    ]))?;
    let path = root().join(PATH);
    if check {
        let committed = fs::read_to_string(&path).map_err(|error| format!("{PATH}: {error}"))?;
        return if committed == written {
            Ok(())
        } else {
            Err(format!(
                "{PATH} is not what the types say: run `cargo xtask crds`"
            ))
        };
    }
    fs::write(&path, written).map_err(|error| format!("{PATH}: {error}"))
}
