//! The credentials file: rejected at start when it is invalid, reloaded while the server runs.

use crate::authenticated::{ADMIN, AuthenticatedServer, CREDENTIALS, output};
use std::{fs, process::Command};
use tombolo_tests::{need, until};

#[test]
fn changes_count_at_once_and_mistakes_change_nothing() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let api = server.api.to_string();
    let is_allowed = || {
        server
            .tombolo(Some(ADMIN), &["export", "--api", &api, "-"])
            .is_ok()
    };
    assert!(is_allowed());
    let write = |text: &str| {
        // As editors and Kubernetes do it: another file replaces this one.
        let new = server.directory().join("new");
        fs::write(&new, text).expect("writable");
        fs::rename(&new, server.file()).expect("renamed");
    };
    write(&CREDENTIALS.replace("AdministratorAccess", "AdminAccess"));
    until("the mistake is told", || {
        server
            .log()
            .contains("credentials.yaml:10: no policy is called \"AdminAccess\"")
            .then_some(())
    });
    assert!(is_allowed(), "the last good file counts");
    write(&CREDENTIALS.replace("admin/secret+key", "another"));
    until("the old secret is worth nothing", || {
        (!is_allowed()).then_some(())
    });
    fs::remove_file(server.file()).expect("removed");
    until("the missing file is told", || {
        server
            .log()
            .contains("what was read before stays in force")
            .then_some(())
    });
    write(CREDENTIALS);
    until("the secret is back", || is_allowed().then_some(()));
    assert!(
        !server.log().contains("admin/secret+key"),
        "no secret is logged"
    );
}

fn start(options: &[&str]) -> Option<String> {
    let mut command = Command::new(need("TOMBOLO_BIN")?);
    let refused = output(command.arg("server").args(options));
    Some(refused.expect_err("it does not start"))
}

#[test]
fn what_is_wrong_at_the_start_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("wrong.yaml");
    fs::write(&file, "users:\n  - name: a\n").expect("writable");
    let path = file.display().to_string();
    let open = ["--api", "127.0.0.1:0", "--xds", "127.0.0.1:0"];
    let Some(error) = start(&[&open[..], &["--credentials", &path]].concat()) else {
        return;
    };
    assert!(
        error.contains("wrong.yaml:2: users[0]: missing field `account`"),
        "{error}"
    );
    for (options, words) in [
        (&["--api", "0.0.0.0:0"][..], "give a credentials file"),
        (
            &["--credentials", "/nonexistent"],
            "/nonexistent: No such file",
        ),
        (&["--api-cert", "x.pem"], "--api-key"),
    ] {
        let error = start(options).expect("the binary is there");
        assert!(error.contains(words), "{options:?}: {error}");
    }
}
