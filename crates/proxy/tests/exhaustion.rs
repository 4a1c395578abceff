//! A process without free file descriptors. One test, because the limit is the process's.

mod rig;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tombolo_proxy::{Error, Options, Proxy};

use rig::client::Connection;
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{Running, log, wait_for};

/// The numbers of the open descriptors, without that of the directory being read.
fn open_files() -> BTreeSet<u64> {
    let directory = std::fs::read_dir("/proc/self/fd").expect("descriptors");
    let named = directory.map(|entry| entry.expect("an entry").file_name());
    let mut open: BTreeSet<u64> = named
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    open.retain(|file| std::fs::exists(format!("/proc/self/fd/{file}")).expect("asks"));
    open
}

/// The limit that leaves `free` descriptors. The limit bounds descriptor numbers, and the process may have inherited
/// descriptors with gaps between them.
fn limit_with(free: usize) -> u64 {
    let open = open_files();
    (0..)
        .filter(|file| !open.contains(file))
        .nth(free)
        .expect("a number")
}

fn limit_to(files: u64) {
    let limit = Rlimit {
        current: Some(files),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).expect("the limit is lowered");
}

#[test]
fn running_out_of_descriptors_is_told_once_and_survived() {
    log::capture();
    // Workers that cannot be built: the proxy does not start, and releases everything. One that could be built was
    // started before: descriptors that the runtime opens once for the process are not counted.
    let one = Options {
        workers: 1,
        ..Options::default()
    };
    let started = Proxy::start(one).expect("starts");
    started.shutdown().expect("clean shutdown");
    let before = getrlimit(Resource::Nofile).current.expect("a limit");
    let open = open_files();
    limit_to(limit_with(12));
    let outcome = Proxy::start(Options {
        workers: 8,
        ..Options::default()
    });
    limit_to(before);
    assert!(matches!(outcome, Err(Error::Start { .. })), "{outcome:?}");
    assert_eq!(open_files(), open);

    // Failing accepts: one log line when they begin, one when they end.
    let up = Upstream::start("up");
    let proxy = Running::start_with(Options {
        workers: 1,
        max_open_files: Some(1 << 20),
        static_resources: resource_set(
            &ingress(0, http_filter(&manager(everything_to("up")))),
            &[static_cluster("up", &[up.address])],
        ),
        ..Options::default()
    });
    let mut admin = Connection::open(proxy.admin);
    let name = proxy.address.to_string().replace(':', "_");
    let counter = format!("listener.{name}.downstream_cx_accept_failed");
    let mut failures = || {
        let request = format!("GET /stats?filter={counter} HTTP/1.1\r\nhost: admin\r\n\r\n");
        let text = admin.request(&request).text();
        let value = text
            .trim()
            .rsplit(' ')
            .next()
            .and_then(|value| value.parse().ok());
        value.unwrap_or(0u64)
    };
    failures();
    // The client's socket exists already; nothing else in this process opens one from here on.
    let mut waiting = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    limit_to(3);
    let connected = waiting.connect_timeout(&proxy.address.into(), Duration::from_secs(5));
    connected.expect("the kernel completes the handshake");
    wait_for("several failures", || (failures() >= 3).then_some(()));
    limit_to(before);
    let request = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    waiting.write_all(request).expect("writes");
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("reads");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(log::lines(&["cannot accept connections"]).len(), 1);
    assert_eq!(log::lines(&["accepting connections again"]).len(), 1);
}
