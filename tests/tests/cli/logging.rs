//! The log of long-running commands, and the options that select it.

use std::process::Command;
use tombolo_tests::{Program, need, until};

/// A sidecar with an invalid control-plane address, which it logs as an error.
fn sidecar(variables: &[(&str, &str)]) -> Option<(Program, tempfile::TempDir)> {
    let binary = need("TOMBOLO_BIN")?;
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(binary);
    command
        .arg("proxy")
        .env_remove("TOMBOLO_LOG")
        .env("APPMESH_RESOURCE_ARN", "mesh/m/virtualNode/n")
        .env("APPMESH_XDS_ENDPOINT", "no address")
        .env("ENVOY_ADMIN_ACCESS_PORT", "0")
        .envs(variables.iter().copied());
    let program = Program::start(&mut command, &directory.path().join("log"));
    Some((program, directory))
}

#[test]
fn a_sidecar_logs_warnings_by_default() {
    for variables in [
        &[][..],
        &[("ENVOY_LOG_LEVEL", "warning")],
        &[("TOMBOLO_LOG", "warning")],
    ] {
        let Some((mut program, _directory)) = sidecar(variables) else {
            return;
        };
        until("the error is logged", || {
            let log = program.log();
            assert!(program.ended().is_none(), "{log}");
            log.contains("address is not usable").then_some(())
        });
    }
}

#[test]
fn a_word_that_is_no_level_is_said_and_the_default_stays() {
    let Some((program, _directory)) = sidecar(&[("TOMBOLO_LOG", "verbose")]) else {
        return;
    };
    until("both are said", || {
        let log = program.log();
        let both = log.contains("\"verbose\" is no level") && log.contains("address is not usable");
        both.then_some(())
    });
}
