//! Graceful shutdown: calls in flight are answered, within the deadlines.

use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tombolo_tests::{
    Server,
    http::{Answer, Connection, Request},
    until,
};

const MESHES: &str = "/v20190125/meshes";

pub(crate) fn create_mesh(connection: &mut Connection, name: &str) -> io::Result<Answer> {
    connection.send(&Request::app_mesh(
        "PUT",
        MESHES,
        &json!({"meshName": name}),
    ))
}

pub(crate) fn meshes(api: SocketAddr) -> BTreeSet<String> {
    let mut connection = Connection::open(api).expect("it listens");
    let mut found = BTreeSet::new();
    let mut path = format!("{MESHES}?limit=100");
    loop {
        let answer = connection.send(&Request::get(&path)).expect("an answer");
        let answer = answer.json();
        let page = answer["meshes"].as_array().expect("a list");
        let names = page.iter().filter_map(|mesh| mesh["meshName"].as_str());
        found.extend(names.map(str::to_owned));
        match answer["nextToken"].as_str() {
            Some(token) => path = format!("{MESHES}?limit=100&nextToken={token}"),
            None => return found,
        }
    }
}

/// A call whose last byte is not sent yet, and that byte.
fn begin(api: SocketAddr, name: &str) -> (TcpStream, Vec<u8>) {
    let body = json!({"meshName": name}).to_string();
    let call = format!(
        "PUT {MESHES} HTTP/1.1\r\nhost: {api}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (begun, rest) = call.as_bytes().split_at(call.len() - 1);
    let mut stream = TcpStream::connect(api).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a socket");
    stream.write_all(begun).expect("it reads");
    (stream, rest.to_vec())
}

fn until_it_accepts_no_more(api: SocketAddr) {
    until("it accepts no more connections", || {
        TcpStream::connect(api).is_err().then_some(())
    });
}

#[test]
fn a_call_under_way_is_answered_before_the_server_ends() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let api = server.api();
    let (mut call, rest) = begin(api, "late");
    // The server has accepted the connection when it answers a later one.
    server.revision();
    server.terminate();
    until_it_accepts_no_more(api);
    call.write_all(&rest).expect("it still reads");
    let mut answer = String::new();
    call.read_to_string(&mut answer)
        .expect("an answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (status, log) = server.ended();
    assert!(status.success(), "{status}: {log}");
    assert!(!log.contains("aborting tasks"), "{log}");
    server.run();
    assert!(meshes(api).contains("late"));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let (_call, _rest) = begin(server.api(), "never");
    server.revision();
    server.terminate();
    until_it_accepts_no_more(server.api());
    server.terminate();
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(1), "{status}: {log}");
    assert!(log.contains("before everything was drained"), "{log}");
}

/// Under load: acknowledged writes are there afterwards, and unanswered ones were not made.
#[test]
fn whatever_is_done_is_answered_when_the_server_ends_under_load() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let acknowledged = Mutex::new(BTreeSet::new());
    let count = AtomicU64::new(0);
    let api = server.api();
    for round in 0..3 {
        let goal = count.load(Ordering::Relaxed) + 60;
        std::thread::scope(|scope| {
            for client in 0..6 {
                let (acknowledged, count) = (&acknowledged, &count);
                scope.spawn(move || {
                    let mut connection = Connection::open(api).expect("it listens");
                    for number in 0.. {
                        let name = format!("m{round}-{client}-{number}");
                        match create_mesh(&mut connection, &name) {
                            Ok(answer) if answer.status == 200 => {
                                acknowledged.lock().insert(name);
                                count.fetch_add(1, Ordering::Relaxed);
                                if answer.header("connection") == Some("close") {
                                    return;
                                }
                            }
                            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
                            // The connection was idle when it was closed, or was never accepted.
                            Err(_) => return,
                        }
                    }
                });
            }
            until("the clients make progress", || {
                (count.load(Ordering::Relaxed) >= goal).then_some(())
            });
            server.terminate();
        });
        let (status, log) = server.ended();
        assert!(status.success(), "round {round}: {status}: {log}");
        server.run();
        assert_eq!(meshes(api), *acknowledged.lock(), "round {round}");
    }
}
