//! `tombolo export` and `tombolo import`: from a running server, from a directory, and between both.

use serde_json::json;
use std::{
    path::Path,
    process::{Command, Output},
};
use tombolo_tests::{
    Etcd, Server,
    http::{Connection, Request},
    need,
    registers::{Action, Key, Record, prepare},
    until,
};

fn tombolo(words: &[&str]) -> Output {
    let binary = need("TOMBOLO_BIN").expect("the server has it");
    Command::new(binary)
        .args(words)
        .output()
        .expect("the binary can be run")
}

#[track_caller]
fn succeeds(words: &[&str]) -> String {
    let output = tombolo(words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).expect("YAML is text")
}

#[track_caller]
fn fails(words: &[&str]) -> String {
    let output = tombolo(words);
    assert!(!output.status.success(), "{words:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A server with a resource of each kind.
fn filled() -> Option<Server> {
    let server = Server::start()?;
    let service = prepare(server.api());
    let record = Record::default();
    let mut connection = Connection::open(server.api()).expect("it listens");
    for (key, action) in [
        (Key::Route("x".into()), Action::Create(5)),
        (Key::Route("x".into()), Action::Update(6)),
        (Key::Instance(service.clone(), "i".into()), Action::Put(7)),
        (Key::Instance(service.clone(), "j".into()), Action::Put(8)),
        (Key::Instance(service, "j".into()), Action::Remove),
    ] {
        record
            .call(0, &mut connection, &key, action)
            .expect("an answer");
    }
    let tag = json!({"tags": [{"key": "team", "value": "yes: a \"colour\"\n"}]});
    let arn = "arn:aws:appmesh:us-west-2:111122223333:mesh/m";
    let path = format!("/v20190125/tag?resourceArn={arn}");
    let answer = connection.send(&Request::app_mesh("PUT", &path, &tag));
    assert_eq!(answer.expect("an answer").status, 200);
    Some(server)
}

#[test]
fn an_export_that_is_imported_is_exported_the_same() {
    let (Some(source), Some(target)) = (filled(), Server::start()) else {
        return;
    };
    let api = source.api().to_string();
    let file = source.directory().join("backup.yaml");
    succeeds(&["export", "--api", &api, &shown(&file)]);
    let text = std::fs::read_to_string(&file).expect("a backup");
    assert_eq!(succeeds(&["export", "--api", &api]), text);

    let other = target.api().to_string();
    let before = target.revision();
    assert_eq!(before, 0);
    succeeds(&["import", "--api", &other, &shown(&file)]);
    assert_eq!(succeeds(&["export", "--api", &other]), text);
    assert_eq!(target.revision(), source.revision());

    let refused = fails(&["import", "--api", &other, &shown(&file)]);
    assert!(refused.contains("not empty"), "{refused}");
    assert!(refused.contains("--overwrite"), "{refused}");
    succeeds(&["import", "--api", &other, "--overwrite", &shown(&file)]);
    assert_eq!(target.revision(), source.revision() + 1);

    // From a directory that no server uses, and into one.
    let directory = shown(&source.directory().join("data"));
    let refused = fails(&["export", "--data-dir", &directory]);
    assert!(refused.contains("in use by another process"), "{refused}");
    let mut source = source;
    source.kill();
    assert_eq!(succeeds(&["export", "--data-dir", &directory]), text);
    let fresh = shown(&source.directory().join("fresh"));
    succeeds(&["import", "--data-dir", &fresh, &shown(&file)]);
    assert_eq!(succeeds(&["export", "--data-dir", &fresh]), text);
}

#[test]
fn a_backup_moves_to_replicas_and_back() {
    let (Some(source), Some(etcd)) = (filled(), Etcd::start(1)) else {
        return;
    };
    let api = source.api().to_string();
    let file = source.directory().join("backup.yaml");
    succeeds(&["export", "--api", &api, &shown(&file)]);
    let text = std::fs::read_to_string(&file).expect("a backup");

    // While no server runs.
    let store = etcd.address();
    succeeds(&["import", "--store", &store, &shown(&file)]);
    assert_eq!(succeeds(&["export", "--store", &store]), text);
    let refused = fails(&["import", "--store", &store, &shown(&file)]);
    assert!(refused.contains("not empty"), "{refused}");

    // Replicas start with it, and follow when one of them imports another state.
    let (Some(first), Some(second)) = (Server::replica(&store), Server::replica(&store)) else {
        return;
    };
    let (one, other) = (first.api().to_string(), second.api().to_string());
    assert_eq!(succeeds(&["export", "--api", &one]), text);
    let mut connection = Connection::open(second.api()).expect("it listens");
    let mesh = json!({"meshName": "later", "spec": {}});
    let made = connection.send(&Request::app_mesh("PUT", "/v20190125/meshes", &mesh));
    assert_eq!(made.expect("an answer").status, 200);
    succeeds(&["import", "--api", &one, "--overwrite", &shown(&file)]);
    until("the other replica follows", || {
        (second.revision() >= first.revision()).then_some(())
    });
    let restored = succeeds(&["export", "--api", &one]);
    assert_eq!(succeeds(&["export", "--api", &other]), restored);
    // Everything but the revision, which only grows, is equal.
    let records = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with("revision:"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(records(&restored), records(&text));

    // And back to a disk.
    let directory = shown(&source.directory().join("back"));
    let back = source.directory().join("back.yaml");
    std::fs::write(&back, &restored).expect("a file");
    succeeds(&["import", "--data-dir", &directory, &shown(&back)]);
    assert_eq!(succeeds(&["export", "--data-dir", &directory]), restored);
}

#[test]
fn an_import_tells_file_and_line_and_changes_nothing() {
    let Some(server) = filled() else {
        return;
    };
    let api = server.api().to_string();
    let text = succeeds(&["export", "--api", &api]);
    let file = server.directory().join("broken.yaml");
    let broken = text.replacen("kind: VirtualRouter", "kind: Router", 1);
    let line = text
        .lines()
        .position(|line| line.contains("kind: VirtualRouter"))
        .expect("a router")
        + 1;
    for (text, expected) in [
        (broken.as_str(), format!("{}:{line}: ", shown(&file))),
        ("a: [", format!("{}:1: not YAML", shown(&file))),
        (
            "kind: Pod",
            format!("{}:1: this is no export", shown(&file)),
        ),
    ] {
        std::fs::write(&file, text).expect("a file");
        for place in [
            ["--api", &api],
            ["--data-dir", &shown(&server.directory().join("new"))],
        ] {
            let words = ["import", "--overwrite", place[0], place[1], &shown(&file)];
            let refused = fails(&words);
            assert!(refused.contains(&expected), "{refused}");
        }
    }
    assert_eq!(succeeds(&["export", "--api", &api]), text);
    let absent = fails(&["import", "--api", &api, "/nowhere.yaml"]);
    assert!(absent.contains("/nowhere.yaml: No such file"), "{absent}");
}
