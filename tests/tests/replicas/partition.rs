//! Without etcd: reads continue, writes are refused within a deadline, and the status has the reason.

use serde_json::{Value, json};
use std::process::Command;
use tombolo_tests::{
    Etcd, Server,
    http::{Connection, Request},
    need,
    registers::prepare,
    until,
};

const MESH: &str = "/v20190125/meshes/m";

fn status_of(server: &Server) -> String {
    let binary = need("TOMBOLO_BIN").expect("the server has it");
    let output = Command::new(binary)
        .args(["status", "--api", &server.api().to_string()])
        .output()
        .expect("the binary can be run");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn without_etcd_reads_go_on_and_writes_are_refused() {
    let Some(mut etcd) = Etcd::start(1) else {
        return;
    };
    let Some(server) = Server::replica(&etcd.address()) else {
        return;
    };
    prepare(server.api());
    let problem = || server.status().expect("it answers")["store"]["problem"].clone();
    assert_eq!(problem(), Value::Null);
    assert!(status_of(&server).contains("state in etcd at 127.0.0.1:"));

    etcd.kill(0);
    until("it is noticed", || (!problem().is_null()).then_some(()));
    let mut connection = Connection::open(server.api()).expect("it listens");
    let mesh = |name: &str| json!({"meshName": name, "spec": {}});
    let answer = connection
        .send(&Request::app_mesh("PUT", "/v20190125/meshes", &mesh("n")))
        .expect("an answer, not silence");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("try again"), "{}", answer.text());
    let answer = connection.send(&Request::app_mesh("GET", MESH, &Value::Null));
    assert_eq!(answer.expect("an answer").status, 200);
    let shown = status_of(&server);
    assert!(shown.contains("state in etcd, not writable"), "{shown}");
    assert!(shown.contains("changes cannot be stored"), "{shown}");

    etcd.run(0);
    let answer = connection
        .send(&Request::app_mesh("PUT", "/v20190125/meshes", &mesh("n")))
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("it is over", || problem().is_null().then_some(()));
}

#[test]
fn a_server_without_its_etcd_says_which() {
    let Some(binary) = need("TOMBOLO_BIN") else {
        return;
    };
    let start = |words: &[&str]| {
        let output = Command::new(&binary)
            .args(["server", "--api", "127.0.0.1:0", "--xds", "127.0.0.1:0"])
            .args(words)
            .output()
            .expect("the binary can be run");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = start(&["--store", "etcd://127.0.0.1:1"]);
    assert!(
        said.contains("--store: etcd://127.0.0.1:1/tombolo: "),
        "{said}"
    );
    assert!(said.contains("Connection refused"), "{said}");
    let said = start(&["--store", "consul://127.0.0.1"]);
    assert!(said.contains("it looks like etcd://host:2379"), "{said}");
    let said = start(&["--store", "etcd://a", "--etcd-ca", "/nowhere.pem"]);
    assert!(
        said.contains("--etcd-ca /nowhere.pem: No such file"),
        "{said}"
    );
    let said = start(&["--store", "etcd://a", "--data-dir", "/nowhere"]);
    assert!(said.contains("cannot be used with"), "{said}");
}
