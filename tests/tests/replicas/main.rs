//! Three control planes over three etcd members, of which one each is killed or paused at random, repeatedly, under
//! load: nothing acknowledged is lost, no server shows an older state after a newer one, clients that try the next
//! server see no error, and in the end all servers hold the same state.
//!
//! `TOMBOLO_ROUNDS` sets the number of rounds; `TOMBOLO_SEED` repeats the same choices.

mod lagging_replica;
mod partition;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tombolo_model::entropy::Entropy;
use tombolo_tests::{
    Etcd, Server,
    history::{Event, Observation, linearizable, only_grows},
    http::{Connection, get},
    registers::{Action, Key, Outcome, Record, RecordedCall, Register, prepare},
    until,
};

const REPLICAS: usize = 3;
const ROUNDS: u64 = 4;
const CLIENTS: u64 = 6;
/// A client's timeout for one server.
const SILENCE: Duration = Duration::from_secs(3);
/// Deadline for an answer from any server, across an election in etcd.
const FAILOVER: Duration = Duration::from_secs(45);
/// Writes that each of the other replicas must answer while the chosen ones are down, including those before the
/// failure was detected.
const ANSWERS: u64 = 60;
/// One call in this many goes to another server than the ones before.
const CHANGES: usize = 16;

/// A failure of a process.
#[derive(Clone, Copy, Debug)]
enum ProcessFault {
    Kill,
    Pause,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_while_replicas_and_members_fail() {
    let Some(mut etcd) = Etcd::start(3) else {
        return;
    };
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        let Some(replica) = Server::replica(&etcd.address()) else {
            return;
        };
        replicas.push(replica);
    }
    let seed = number("TOMBOLO_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("TOMBOLO_SEED={seed}");
    let mut random = Entropy::new(seed);
    let service = prepare(replicas[0].api());
    let keys = Keys::new(&service);
    let record = Record::default();
    let addresses: Vec<SocketAddr> = replicas.iter().map(Server::api).collect();
    for key in &keys.steady {
        let made = act(
            &record,
            &addresses,
            &mut ClientConnection::default(),
            key,
            Action::Create(0),
        );
        assert!(
            matches!(made, Outcome::Done(_) | Outcome::Exists),
            "{made:?}"
        );
    }

    // Replicas are eventually consistent: one that lags behind does not have the service yet.
    until("all replicas hold what was made", || {
        let revisions = replicas
            .iter()
            .map(|replica| replica.status()?["revision"].as_u64());
        let revisions: Vec<u64> = revisions.collect::<Option<_>>()?;
        revisions
            .windows(2)
            .all(|pair| pair[0] == pair[1])
            .then_some(())
    });

    let stop = AtomicBool::new(false);
    let revisions = std::thread::scope(|scope| {
        // The clients end however the test ends.
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        for client in 0..CLIENTS {
            let random = Entropy::new(random.next_u64());
            let (record, addresses, keys, stop) = (&record, &addresses, &keys, &stop);
            let first = usize::try_from(client).expect("small") % REPLICAS;
            scope.spawn(move || work(record, addresses, keys, random, first, stop));
        }
        let watchers: Vec<_> = addresses
            .iter()
            .map(|address| {
                let (record, stop) = (&record, &stop);
                scope.spawn(move || watch(record, *address, stop))
            })
            .collect();
        for round in 0..number("TOMBOLO_ROUNDS").unwrap_or(ROUNDS) {
            let mut below = |bound: u64| usize::try_from(random.next_u64() % bound).expect("small");
            let harms = [ProcessFault::Kill, ProcessFault::Pause];
            let (replica, to_replica) = (below(3), harms[below(2)]);
            let (member, to_member) = (below(3), harms[below(2)]);
            println!(
                "round {round}: {to_replica:?} replica {replica}, {to_member:?} member {member}"
            );
            match to_replica {
                ProcessFault::Kill => replicas[replica].kill(),
                ProcessFault::Pause => replicas[replica].pause(true),
            }
            match to_member {
                ProcessFault::Kill => etcd.kill(member),
                ProcessFault::Pause => etcd.pause(member, true),
            }
            for server in (0..REPLICAS).filter(|server| *server != replica) {
                let goal = record.answers(server) + ANSWERS;
                let start = Instant::now();
                while record.answers(server) < goal {
                    let replica = &replicas[server];
                    assert!(
                        start.elapsed() < FAILOVER,
                        "replica {server} does not go on: {:?}\n{}",
                        replica.status().map(|status| status["store"].clone()),
                        replica.log()
                    );
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            match to_member {
                ProcessFault::Kill => etcd.run(member),
                ProcessFault::Pause => etcd.pause(member, false),
            }
            match to_replica {
                ProcessFault::Kill => replicas[replica].run(),
                ProcessFault::Pause => replicas[replica].pause(false),
            }
            for server in &replicas {
                until("every replica has its store again", || {
                    let status = server.status()?;
                    status["store"]["problem"].is_null().then_some(())
                });
            }
        }
        stop.store(true, Ordering::Relaxed);
        watchers
            .into_iter()
            .map(|watcher| watcher.join().expect("no panic"))
            .collect::<Vec<_>>()
    });

    let newest = replicas.iter().map(Server::revision).max().expect("three");
    for server in &replicas {
        until("all replicas have the last change", || {
            (server.revision() >= newest).then_some(())
        });
    }
    let exports: Vec<String> = addresses.iter().map(|at| export(*at)).collect();
    assert!(
        exports.windows(2).all(|two| two[0] == two[1]),
        "they hold the same"
    );

    for (nth, address) in addresses.iter().enumerate() {
        let mut connection = Connection::open(*address).expect("it listens");
        for key in keys.all() {
            record
                .call(nth, &mut connection, key, Action::Read)
                .expect("an answer");
        }
    }
    let finished = record.now();
    let calls = record.into_calls();
    let unanswered = calls.iter().filter(|noted| noted.event.end.is_none());
    println!(
        "{} calls, {} without an answer, revision {newest}",
        calls.len(),
        unanswered.count()
    );
    for (nth, observations) in revisions.iter().enumerate() {
        if let Err(why) = only_grows(observations) {
            panic!("the revision of replica {nth}: {why}");
        }
    }
    judge(&keys, &calls, finished);
}

/// Reads of one replica may lag behind the others, but never go backwards; all other calls, and the final reads, are
/// one linearizable history.
fn judge(keys: &Keys, calls: &[RecordedCall], finished: u64) {
    let last_write = |noted: &&RecordedCall| noted.event.call.action != Action::Read;
    let settled = calls
        .iter()
        .filter(last_write)
        .filter_map(|n| n.event.end)
        .max();
    let settled = settled.expect("something was written");
    assert!(settled <= finished);
    for key in keys.all() {
        let of_key: Vec<&RecordedCall> = calls.iter().filter(|noted| noted.key == *key).collect();
        let history: Vec<Event<_>> = of_key
            .iter()
            .filter(|noted| noted.event.call.action != Action::Read || noted.event.begin > settled)
            .map(|noted| noted.event.clone())
            .collect();
        if let Err(why) = linearizable::<Register>(None, &history) {
            panic!("{key:?}, {} calls: {why}", history.len());
        }
    }
    for key in &keys.steady {
        for server in 0..REPLICAS {
            let here = calls
                .iter()
                .filter(|noted| noted.key == *key && noted.server == server);
            let observations: Vec<Observation> = here.filter_map(sight).collect();
            if let Err(why) = only_grows(&observations) {
                panic!("{key:?} on replica {server}: {why}");
            }
        }
    }
}

/// The version in an answer.
fn sight(noted: &RecordedCall) -> Option<Observation> {
    let version = match noted.event.call.outcome? {
        Outcome::Done(version) => version,
        Outcome::Found(held) => held?.1,
        _ => None,
    };
    Some(Observation {
        begin: noted.event.begin,
        end: noted.event.end?,
        number: version?,
    })
}

struct Keys {
    /// Routes that are never removed.
    steady: Vec<Key>,
    /// Routes and instances that are created and deleted.
    others: Vec<Key>,
}

impl Keys {
    fn new(service: &str) -> Self {
        let route = |prefix: &str, nth: usize| Key::Route(format!("{prefix}{nth}"));
        let instance = |nth: usize| Key::Instance(service.to_owned(), format!("i{nth}"));
        Self {
            steady: (0..4).map(|nth| route("steady", nth)).collect(),
            others: (0..4)
                .map(|nth| route("passing", nth))
                .chain((0..6).map(instance))
                .collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        self.steady.iter().chain(&self.others)
    }
}

/// A client's connection to one of the servers.
#[derive(Default)]
struct ClientConnection {
    server: usize,
    connection: Option<Connection>,
}

/// Calls until there is an answer, from one server or the next, as SDKs do. A repeated call has a new number: it is a
/// different call.
fn act(
    record: &Record,
    servers: &[SocketAddr],
    hand: &mut ClientConnection,
    key: &Key,
    action: Action,
) -> Outcome {
    let start = Instant::now();
    loop {
        if hand.connection.is_none() {
            hand.connection = Connection::open_within(servers[hand.server], SILENCE).ok();
        }
        if let Some(connection) = &mut hand.connection {
            let action = match action {
                Action::Create(_) => Action::Create(record.number()),
                Action::Update(_) => Action::Update(record.number()),
                Action::Put(_) => Action::Put(record.number()),
                other => other,
            };
            if let Ok(outcome) = record.call(hand.server, connection, key, action) {
                return outcome;
            }
        }
        hand.connection = None;
        hand.server = (hand.server + 1) % servers.len();
        assert!(
            start.elapsed() < FAILOVER,
            "no server answers {key:?} {action:?}"
        );
        // Two servers that are down are tried in turn, with a pause.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One client: reads and writes, mostly at one server.
fn work(
    record: &Record,
    servers: &[SocketAddr],
    keys: &Keys,
    mut random: Entropy,
    server: usize,
    stop: &AtomicBool,
) {
    let mut hand = ClientConnection {
        server,
        connection: None,
    };
    let mut below = |bound: usize| {
        let bound = u64::try_from(bound).expect("small");
        usize::try_from(random.next_u64() % bound).expect("small")
    };
    while !stop.load(Ordering::Relaxed) {
        let (key, is_steady) = match below(2) {
            0 => (&keys.steady[below(keys.steady.len())], true),
            _ => (&keys.others[below(keys.others.len())], false),
        };
        let action = match (key, below(6)) {
            (_, 0..2) => Action::Read,
            (Key::Instance(..), 2..5) => Action::Put(0),
            (Key::Route(_), 2) if !is_steady => Action::Remove,
            (Key::Route(_), 3) if !is_steady => Action::Create(0),
            (Key::Route(_), _) => Action::Update(0),
            (Key::Instance(..), _) => Action::Remove,
        };
        if below(CHANGES) == 0 {
            hand = ClientConnection {
                server: below(servers.len()),
                connection: None,
            };
        }
        act(record, servers, &mut hand, key, action);
    }
}

/// Polls the revision of a server.
fn watch(record: &Record, server: SocketAddr, stop: &AtomicBool) -> Vec<Observation> {
    let mut observations = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begin = record.now();
        let told = Connection::open_within(server, SILENCE).and_then(|mut connection| {
            connection.send(&tombolo_tests::http::Request::get("/tombolo/v1/status"))
        });
        if let Ok(answer) = told {
            observations.push(Observation {
                begin,
                end: record.now(),
                number: answer.json()["revision"].as_u64().expect("a number"),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    observations
}

/// The whole state that a server holds, as text.
fn export(server: SocketAddr) -> String {
    get(server, "/tombolo/v1/export").expect("an answer").text()
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
