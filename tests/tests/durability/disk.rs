//! A full disk: nothing acknowledged is lost, the status reports it, and writes resume once there is space.

use crate::shutdown::{create_mesh, meshes};
use std::process::Command;
use tombolo_tests::{Server, http::Connection, until};

#[test]
fn a_full_disk_is_told_and_writes_go_on_once_there_is_room() {
    // Without this, the limit that simulates the full disk kills the process instead of failing its writes.
    let Some(mut server) = Server::start_after("trap '' XFSZ") else {
        return;
    };
    let mut connection = Connection::open(server.api()).expect("it listens");
    let mut create = |name: &str| {
        create_mesh(&mut connection, name)
            .expect("an answer")
            .status
    };
    assert_eq!(create("before"), 200);
    server.limit_file_size(Some(1));
    for attempt in ["lost", "lost as well"] {
        assert_eq!(create(attempt), 503);
    }
    let problem = until("the problem is told", || {
        let status = server.status().expect("reads go on");
        status["store"]["problem"].as_str().map(str::to_owned)
    });
    assert!(!problem.is_empty());
    assert!(meshes(server.api()).contains("before"), "reads go on");
    let doctor = Command::new(server.binary())
        .arg("doctor")
        .args(["--api", &format!("http://{}", server.api())])
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(told.contains("changes cannot be stored"), "{told}");

    server.limit_file_size(None);
    until("writes go on", || (create("after") == 200).then_some(()));
    let status = server.status().expect("it answers");
    assert!(status["store"]["problem"].is_null(), "{status}");
    server.kill();
    server.run();
    let found = meshes(server.api());
    for name in ["before", "after"] {
        assert!(found.contains(name), "{found:?}");
    }
}

#[test]
fn an_empty_file_is_no_empty_state() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let file = server.directory().join("data/tombolo.redb");
    server.terminate();
    server.ended();
    std::fs::write(&file, b"").expect("our own file");
    let refused = Command::new(server.binary())
        .args(["server", "--api", "127.0.0.1:0", "--xds", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(server.directory().join("data"))
        .output()
        .expect("it runs");
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("tombolo.redb is empty"), "{told}");
    assert!(
        told.contains("delete it to begin with an empty state"),
        "{told}"
    );
}
