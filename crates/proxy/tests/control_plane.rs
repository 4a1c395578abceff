//! A proxy driven by a live xDS server: updates take effect, invalid resources are rejected by name, no request is
//! lost.

mod rig;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tombolo_xds::{Kind, Resource};

use rig::client::{self, Connection};
use rig::control::{Control, follow, mesh, web_routes};
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{wait_for, wait_until};

/// Clients that send sequential requests until they are stopped; collects the responses other than 200.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(address: SocketAddr, count: usize) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let threads = (0..count)
            .map(|_| {
                let (stop, answered) = (stop.clone(), answered.clone());
                std::thread::spawn(move || {
                    let mut bad = Vec::new();
                    let mut connection = Connection::open(address);
                    while !stop.load(Ordering::SeqCst) {
                        let response = connection.get("/slow/1");
                        if response.status != 200 {
                            bad.push(format!("{} {}", response.status, response.text()));
                        }
                        if response.header("connection") == Some("close") {
                            connection = Connection::open(address);
                        }
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    bad
                })
            })
            .collect();
        Self {
            stop,
            answered,
            threads,
        }
    }

    fn wait_for_more(&self, count: usize) {
        let target = self.answered.load(Ordering::SeqCst) + count;
        wait_until("answers", || self.answered.load(Ordering::SeqCst) >= target);
    }

    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("client thread"))
            .collect()
    }
}

#[test]
fn endpoints_come_and_go_without_a_lost_request() {
    let hosts: Vec<Upstream> = ["a", "b", "c"].map(Upstream::start).into();
    let addresses: Vec<SocketAddr> = hosts.iter().map(|host| host.address).collect();
    let control = Control::start(mesh(1, &addresses));
    let proxy = follow(&control, None);
    let clients = Clients::start(proxy.address, 8);
    for revision in 2..22 {
        // Each revision leaves out another host.
        let left: Vec<SocketAddr> = addresses
            .iter()
            .enumerate()
            .filter(|(n, _)| n % 3 != revision % 3)
            .map(|(_, address)| *address)
            .collect();
        control.publish_and_wait(mesh(revision as u64, &left));
        clients.wait_for_more(40);
    }
    // A removed host gets no new requests, so stopping it afterwards fails none.
    control.publish_and_wait(mesh(30, &addresses[1..]));
    clients.wait_for_more(40);
    hosts[0].stop();
    clients.wait_for_more(80);
    assert_eq!(clients.finish(), Vec::<String>::new());
    assert_eq!(proxy.stat("cluster.app.membership_total"), 2);
}

#[test]
fn listener_and_route_changes_lose_no_request() {
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    let control = Control::start(mesh(1, &[one.address]));
    let proxy = follow(&control, None);
    let clients = Clients::start(proxy.address, 4);
    let first = mesh(1, &[one.address]);
    for revision in 2..12 {
        let mut config = named_routes(manager(table("unused", Vec::new())), "web");
        // The filter chain differs each time, so its connections are closed after their request.
        config.server_name = format!("revision-{revision}");
        let to = if revision % 2 == 0 { "second" } else { "app" };
        let second = static_cluster("second", &[two.address]);
        let next = first
            .edit(revision)
            .with(Resource::encode("ingress", &http_ingress(&config)))
            .with(Resource::encode("web", &web_routes(to)))
            .with(Resource::encode("second", &second))
            .build();
        control.publish_and_wait(next);
        let expected = if revision % 2 == 0 { "two" } else { "one" };
        wait_until("the route to turn", || {
            client::get(proxy.address, "/x").header("x-upstream") == Some(expected)
        });
        clients.wait_for_more(20);
    }
    assert_eq!(clients.finish(), Vec::<String>::new());
}

#[test]
fn refused_resource_is_named_and_the_old_one_stays() {
    let up = Upstream::start("up");
    let good = mesh(1, &[up.address]);
    let control = Control::start(good.clone());
    let proxy = follow(&control, None);
    let secured = with_tls(eds_cluster("app"));
    control.publish(good.edit(2).with(Resource::encode("app", &secured)).build());
    let nack = wait_for("the refusal", || {
        control
            .proxies
            .proxies()
            .into_iter()
            .find_map(|proxy| proxy.kinds.get(&Kind::Cluster)?.nack.clone())
    });
    assert!(
        nack.reason.contains("app") && nack.reason.contains("transport_socket"),
        "{}",
        nack.reason
    );
    assert_eq!(client::get(proxy.address, "/x").status, 200);
    control.publish_and_wait(good.edit(3).build());
    assert_eq!(client::get(proxy.address, "/x").status, 200);
}

#[test]
fn proxy_starts_and_serves_after_its_control_plane_is_gone() {
    let up = Upstream::start("up");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("last-good.snapshot");
    let mut control = Control::start(mesh(5, &[up.address]));
    let proxy = follow(&control, Some(directory.path()));
    wait_until("the file", || file.exists());
    control.stop();
    assert_eq!(client::get(proxy.address, "/x").status, 200);
    drop(proxy);
    let proxy = follow(&control, Some(directory.path()));
    let response = client::get(proxy.address, "/x");
    assert_eq!(
        (response.status, response.header("x-upstream")),
        (200, Some("up"))
    );
    assert_eq!(proxy.stat("server.revision"), 5);
}

#[test]
fn ejections_are_counted_right_through_changes_of_the_cluster() {
    use envoy_types::pb::envoy::config::cluster::v3 as cluster;
    let hosts: Vec<Upstream> = ["good", "bad", "third"].map(Upstream::start).into();
    let addresses: Vec<SocketAddr> = hosts.iter().map(|host| host.address).collect();
    let watched = |connections, detects: bool| cluster::Cluster {
        outlier_detection: detects.then(|| cluster::OutlierDetection {
            consecutive_5xx: number(1),
            interval: millis(50),
            base_ejection_time: millis(600_000),
            max_ejection_time: millis(600_000),
            max_ejection_percent: number(50),
            ..Default::default()
        }),
        circuit_breakers: breakers(Thresholds {
            max_connections: number(connections),
            ..Default::default()
        }),
        ..eds_cluster("app")
    };
    let state = |revision, connections, detects, hosts: &[SocketAddr]| {
        let app = Resource::encode("app", &watched(connections, detects));
        mesh(revision, hosts).edit(revision).with(app).build()
    };
    let control = Control::start(state(1, 100, true, &addresses));
    let proxy = follow(&control, None);
    let active = "cluster.app.outlier_detection.ejections_active";
    hosts[1].force_status(500);
    wait_until("the ejection", || {
        client::get(proxy.address, "/x");
        proxy.stat(active) == 1
    });
    // Changed limits affect neither ejections nor counters.
    control.publish_and_wait(state(2, 200, true, &addresses));
    assert_eq!(proxy.stat(active), 1);
    let enforced = "cluster.app.outlier_detection.ejections_enforced_total";
    assert_eq!(proxy.stat(enforced), 1);
    // A removed host does not count as ejected.
    control.publish_and_wait(state(3, 200, true, &[addresses[0], addresses[2]]));
    assert_eq!(proxy.stat(active), 0);
    control.publish_and_wait(state(4, 200, true, &addresses));
    assert_eq!(proxy.stat(active), 1);
    // A host without outlier detection does not either.
    control.publish_and_wait(state(5, 200, false, &addresses));
    assert_eq!(proxy.stat(active), 0);
    assert_eq!(proxy.stat("cluster.app.membership_healthy"), 3);
}
