//! A server that is killed again and again under load: what it acknowledged is there, and time never runs
//! backwards.

mod writer;

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};
use tombolo_tests::{
    Server,
    http::{Connection, Request},
    until,
};
use writer::{Registrar, Router, Settler, Writer};

/// How often the server is killed.
const KILLS: usize = 24;
/// Acknowledgements between two kills; the number varies, so that the kill meets every phase of a write.
const WRITES: std::ops::Range<usize> = 20..60;

/// A call that must be answered with success.
pub(crate) fn call(api: SocketAddr, request: &Request<'_>) -> Value {
    let mut connection = Connection::open(api).expect("the server listens");
    let answer = connection.send(request).expect("the server answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Makes what the writers write to; answers with the id of the registry service.
fn prepare(api: SocketAddr) -> String {
    let mesh = json!({"meshName": "m", "spec": {}});
    call(api, &Request::app_mesh("PUT", "/v20190125/meshes", &mesh));
    let node = json!({"virtualNodeName": "a", "spec": {}});
    let path = "/v20190125/meshes/m/virtualNodes";
    let listening = json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}]});
    call(api, &Request::app_mesh("PUT", path, &node));
    let router = json!({"virtualRouterName": "r", "spec": listening});
    call(
        api,
        &Request::app_mesh("PUT", "/v20190125/meshes/m/virtualRouters", &router),
    );
    let route = json!({"routeName": "x", "spec": Router::spec(0)});
    call(
        api,
        &Request::app_mesh("PUT", "/v20190125/meshes/m/virtualRouter/r/routes", &route),
    );

    let started = call(
        api,
        &Request::cloud_map("CreateHttpNamespace", &json!({"Name": "n"})),
    );
    let namespace = until("the namespace is made", || {
        let answer = call(
            api,
            &Request::cloud_map(
                "GetOperation",
                &json!({"OperationId": started["OperationId"]}),
            ),
        );
        let operation = &answer["Operation"];
        (operation["Status"] == "SUCCESS").then(|| operation["Targets"]["NAMESPACE"].clone())
    });
    let service = json!({"Name": "s", "NamespaceId": namespace});
    let made = call(api, &Request::cloud_map("CreateService", &service));
    made["Service"]["Id"].as_str().expect("an id").to_owned()
}

#[test]
fn nothing_acknowledged_is_lost_by_killing_the_server_at_any_moment() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let service = prepare(server.api());
    let mut writers: Vec<Box<dyn Writer>> = vec![
        Box::new(Registrar::new(service.clone(), "first")),
        Box::new(Registrar::new(service, "second")),
        Box::new(Router::default()),
        Box::new(Settler::new("one")),
        Box::new(Settler::new("two")),
    ];
    let mut revision = server.revision();
    let mut total = 0;
    for kill in 0..KILLS {
        let goal = WRITES.start + (kill * 7) % WRITES.len();
        let api = server.api();
        let acknowledged = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| write_until_the_end(api, writer.as_mut(), &acknowledged));
            }
            until("the writers make progress", || {
                (acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
            });
            server.kill();
        });
        total += acknowledged.into_inner();
        server.run();
        let now = server.revision();
        assert!(
            now >= revision,
            "kill {kill}: revision {now} after {revision}"
        );
        revision = now;
        for writer in &mut writers {
            writer.verify(server.api());
        }
    }
    println!("{KILLS} kills, {total} acknowledged writes, revision {revision}");
}

/// Writes over one connection until the server is gone.
fn write_until_the_end(api: SocketAddr, writer: &mut dyn Writer, acknowledged: &AtomicUsize) {
    let Ok(mut connection) = Connection::open(api) else {
        return;
    };
    loop {
        match writer.write(&mut connection) {
            Ok(()) => acknowledged.fetch_add(1, Ordering::Relaxed),
            Err(_) => return,
        };
    }
}

#[test]
fn two_servers_cannot_share_their_data() {
    let Some(server) = Server::start() else {
        return;
    };
    let binary = tombolo_tests::need("TOMBOLO_BIN").expect("the first server has it");
    let output = std::process::Command::new(binary)
        .args([
            "server",
            "--api",
            "127.0.0.1:0",
            "--xds",
            "127.0.0.1:0",
            "--data-dir",
        ])
        .arg(server.directory().join("data"))
        .output()
        .expect("the binary can be run");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{message}");
    assert!(message.contains("in use by another process"), "{message}");
    assert!(server.status().is_some(), "the first goes on");
}

/// A state that a writer may find: what was acknowledged last, or what was asked for after that without
/// an answer.
#[derive(Debug, Default)]
pub(crate) struct Expected<T> {
    pub(crate) acknowledged: T,
    pub(crate) asked: Option<T>,
}

impl<T: PartialEq + std::fmt::Debug + Clone> Expected<T> {
    /// Takes what was found, which from now on must stay.
    #[track_caller]
    pub(crate) fn settle(&mut self, found: T, what: &str) {
        let asked = self.asked.take();
        assert!(
            found == self.acknowledged || asked.as_ref() == Some(&found),
            "{what}: found {found:?}, acknowledged {:?}, asked for {asked:?}",
            self.acknowledged
        );
        self.acknowledged = found;
    }

    pub(crate) fn ask(&mut self, next: T) {
        self.asked = Some(next);
    }

    /// The last question was answered.
    pub(crate) fn acknowledge(&mut self) {
        self.acknowledged = self.asked.take().expect("something was asked for");
    }
}

/// What each name should have.
pub(crate) type Names<T> = BTreeMap<String, Expected<T>>;
