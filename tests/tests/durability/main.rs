//! A server that is killed repeatedly under load: acknowledged writes survive, the history is linearizable, and
//! revisions never go backwards.

mod backup;
mod disk;
mod shutdown;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};
use tombolo_model::entropy::Entropy;
use tombolo_tests::{
    Server,
    history::{Event, linearizable},
    http::Connection,
    registers::{Action, Call, Key, Record, RecordedCall, Register, prepare},
    until,
};

/// Number of kills; `TOMBOLO_ROUNDS` overrides it.
const KILLS: u64 = 24;
/// Answers between two kills; the number varies, so that kills hit every phase of a write.
const ANSWERS: std::ops::Range<u64> = 40..120;
const CLIENTS: u64 = 6;

#[test]
fn every_answer_fits_into_one_history_although_the_server_is_killed_at_any_moment() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let rounds = std::env::var("TOMBOLO_ROUNDS").ok();
    let kills = rounds.and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let service = prepare(server.api());
    let route = |nth: usize| Key::Route(format!("route{nth}"));
    let instance = |nth: usize| Key::Instance(service.clone(), format!("i{nth}"));
    let keys: Vec<Key> = (0..8).map(route).chain((0..8).map(instance)).collect();
    let record = Record::default();
    let mut random = Entropy::new(7);
    let mut revision = server.revision();
    for kill in 0..kills {
        let goal = ANSWERS.start + random.next_u64() % (ANSWERS.end - ANSWERS.start);
        let api = server.api();
        let answers = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let random = Entropy::new(random.next_u64());
                let (record, keys, answers) = (&record, &keys, &answers);
                scope.spawn(move || work_until_the_end(api, record, keys, random, answers));
            }
            until("the clients make progress", || {
                (answers.load(Ordering::Relaxed) >= goal).then_some(())
            });
            server.kill();
        });
        server.run();
        let now = server.revision();
        assert!(
            now >= revision,
            "kill {kill}: revision {now} after {revision}"
        );
        revision = now;
        // The first reads after a restart are part of the history, too.
        let mut connection = Connection::open(server.api()).expect("it listens");
        for key in &keys {
            record
                .call(0, &mut connection, key, Action::Read)
                .expect("an answer");
        }
    }
    let calls = record.into_calls();
    println!("{kills} kills, {} calls, revision {revision}", calls.len());
    for key in &keys {
        let history = history_of(key, &calls);
        if let Err(why) = linearizable::<Register>(None, &history) {
            panic!("{key:?}, {} calls: {why}", history.len());
        }
    }
}

fn history_of(key: &Key, calls: &[RecordedCall]) -> Vec<Event<Call>> {
    let of_key = calls.iter().filter(|noted| noted.key == *key);
    of_key.map(|noted| noted.event.clone()).collect()
}

/// Makes calls over one connection until the server is killed.
fn work_until_the_end(
    api: SocketAddr,
    record: &Record,
    keys: &[Key],
    mut random: Entropy,
    answers: &AtomicU64,
) {
    let Ok(mut connection) = Connection::open(api) else {
        return;
    };
    let mut below = |bound: usize| {
        let bound = u64::try_from(bound).expect("small");
        usize::try_from(random.next_u64() % bound).expect("small")
    };
    loop {
        let key = &keys[below(keys.len())];
        let action = match (key, below(6)) {
            (_, 0..2) => Action::Read,
            (_, 2) => Action::Remove,
            (Key::Route(_), 3) => Action::Create(record.number()),
            (Key::Route(_), _) => Action::Update(record.number()),
            (Key::Instance(..), _) => Action::Put(record.number()),
        };
        match record.call(0, &mut connection, key, action) {
            Ok(_) => answers.fetch_add(1, Ordering::Relaxed),
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
