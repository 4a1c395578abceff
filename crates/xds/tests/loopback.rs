//! The client against the server, over loopback.

mod control;
mod sample;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tombolo_telemetry::Causes;
use tombolo_telemetry::metrics::seconds;
use tombolo_telemetry::supervisor::Delays;
use tombolo_xds::client::{Rejection, Update};
use tombolo_xds::server::connected_proxies::Proxy;
use tombolo_xds::{Client, ClientOptions, Kind, Node, Propagation, Resource, Snapshot};

use control::{Control, hello, within};

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// One listener, its routes, and a cluster with endpoints for each name.
fn mesh(revision: u64, clusters: &[&str], port: u16) -> Snapshot {
    let mut builder = Snapshot::builder(revision);
    builder.insert(Resource::encode(
        "l",
        &sample::listener("l", at(80), "r", "l"),
    ));
    builder.insert(Resource::encode("r", &sample::routes("r", clusters[0])));
    for name in clusters {
        builder.insert(Resource::encode(*name, &sample::cluster(name, name, 100)));
        builder.insert(Resource::encode(
            *name,
            &sample::endpoints(name, &[at(port)]),
        ));
    }
    builder.build()
}

fn options(control: &Control, id: &str) -> ClientOptions {
    let node = Node {
        id: id.into(),
        user_agent: "test".into(),
        ..Node::default()
    };
    let delays = Delays::new()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_millis(50))
        .without_max_times();
    ClientOptions {
        delays,
        ..ClientOptions::new(control.addr.to_string(), node)
    }
}

fn start(control: &Control, id: &str) -> Client {
    Client::start(options(control, id)).expect("a good endpoint")
}

async fn next(client: &mut Client) -> Update {
    within("an update comes", client.next())
        .await
        .expect("the client runs")
}

/// Accepts whatever comes until the proxy holds a revision; says what came.
async fn catch_up(client: &mut Client, control: &Control, revision: u64) -> Vec<String> {
    let done = control.acked(revision);
    tokio::pin!(done);
    let mut lines = Vec::new();
    let accept = async {
        loop {
            tokio::select! {
                () = &mut done => return lines,
                update = client.next() => {
                    let update = update.expect("the client runs");
                    lines.extend(changed(&update));
                    let removed = update.removed.iter();
                    lines.extend(removed.map(|(kind, name)| format!("{kind} -{name}")));
                    update.accept();
                }
            }
        }
    };
    within("the proxy catches up", accept).await
}

fn changed(update: &Update) -> Vec<String> {
    update
        .changed
        .iter()
        .map(|r| format!("{} {}", r.kind(), r.name()))
        .collect()
}

#[tokio::test]
async fn all_kinds_of_a_snapshot_arrive_as_one_update() {
    let control = Control::start(mesh(5, &["a", "b"], 1)).await;
    let mut client = start(&control, "one");
    let update = next(&mut client).await;
    assert_eq!(
        changed(&update),
        ["CDS a", "CDS b", "EDS a", "EDS b", "LDS l", "RDS r"]
    );
    assert_eq!(
        (&*update.snapshot, update.snapshot.revision()),
        (&*control.snapshot(), 5)
    );
    assert!(update.removed.is_empty());
    update.accept();
    control.acked(5).await;
    assert!(client.status().borrow().connected);

    let proxies = control.proxies.proxies();
    let [proxy] = &proxies[..] else {
        panic!("one proxy: {proxies:?}")
    };
    assert_eq!((&*proxy.node.id, &*proxy.node.user_agent), ("one", "test"));
    assert_eq!((proxy.revision_sent, proxy.revision_acked), (5, 5));
    assert_eq!(proxy.kinds[&Kind::Cluster].resources, 2);
}

#[tokio::test]
async fn a_change_brings_only_what_changed() {
    let control = Control::start(mesh(1, &["a", "b"], 1)).await;
    let mut client = start(&control, "one");
    next(&mut client).await.accept();
    control.acked(1).await;
    let endpoints = Resource::encode("b", &sample::endpoints("b", &[at(2)]));
    control.publish(control.snapshot().edit(2).with(endpoints).build());
    let update = next(&mut client).await;
    assert_eq!(changed(&update), ["EDS b"]);
    update.accept();
    control.acked(2).await;
    // A revision that changes nothing for this proxy counts as acknowledged at once.
    control.publish(control.snapshot().edit(9).build());
    control.acked(9).await;
}

#[tokio::test]
async fn a_removed_cluster_leaves_after_the_route_to_it_has_moved() {
    let control = Control::start(mesh(1, &["a"], 1)).await;
    let mut client = start(&control, "one");
    next(&mut client).await.accept();
    control.publish(mesh(2, &["b"], 1));
    let mut held = Vec::new();
    loop {
        let update = next(&mut client).await;
        let route = update
            .snapshot
            .get(Kind::Route, "r")
            .expect("a route in every update");
        let old = *route.version() == *mesh(1, &["a"], 1).get(Kind::Route, "r").unwrap().version();
        let target = if old { "a" } else { "b" };
        assert!(
            update.snapshot.get(Kind::Cluster, target).is_some(),
            "{update:?}"
        );
        assert_eq!(update.snapshot.missing().next(), None);
        held.extend(update.removed.clone());
        update.accept();
        if held.contains(&(Kind::Cluster, "a".into())) {
            break;
        }
    }
    catch_up(&mut client, &control, 2).await;
}

#[tokio::test]
async fn a_rejected_resource_is_named_in_the_registry_and_the_rest_is_adopted() {
    let control = Control::start(mesh(1, &["a", "b"], 1)).await;
    let mut client = start(&control, "one");
    let update = next(&mut client).await;
    let rejection = Rejection {
        kind: Kind::Cluster,
        name: "b".into(),
        reason: "cannot be done".into(),
    };
    update.reject(vec![rejection]);
    let nack = control.nack(Kind::Cluster).await;
    assert_eq!((&*nack.reason, nack.revision), ("b: cannot be done", 1));
    assert_eq!(nack.names, ["b".into()]);
    assert!(!control.is_acked(1), "one of them is not in place");

    // The next version of it is sent, and builds on what was kept.
    let fixed = Resource::encode("b", &sample::cluster("b", "b", 200));
    control.publish(control.snapshot().edit(2).with(fixed).build());
    let update = next(&mut client).await;
    assert_eq!(*update.snapshot, *control.snapshot());
    update.accept();
    control.acked(2).await;
}

#[tokio::test]
async fn an_update_that_is_dropped_counts_as_rejected() {
    let control = Control::start(mesh(1, &["a"], 1)).await;
    let mut client = start(&control, "one");
    drop(next(&mut client).await);
    let reason = control.nack(Kind::Listener).await.reason;
    assert_eq!(reason, "l: the proxy dropped the update");
}

#[tokio::test]
async fn a_lost_control_plane_changes_nothing_and_a_new_one_sends_the_difference() {
    let control = Control::start(mesh(1, &["a", "b"], 1)).await;
    let mut client = start(&control, "one");
    next(&mut client).await.accept();
    control.acked(1).await;
    let (addr, old) = (control.addr, control.snapshot());
    control.stop().await;
    let mut status = client.status();
    within(
        "the client notices",
        status.wait_for(|s| !s.connected && s.attempts > 1),
    )
    .await
    .expect("the client runs");

    let endpoints = Resource::encode("a", &sample::endpoints("a", &[at(2)]));
    let mut edit = old.edit(2);
    edit.insert(endpoints)
        .remove(Kind::Cluster, "b")
        .remove(Kind::Endpoint, "b");
    let control = Control::start_at(addr, edit.build()).await;
    let mut lines = catch_up(&mut client, &control, 2).await;
    lines.truncate(2); // The endpoints of b may go now or with the next update.
    assert_eq!(lines, ["EDS a", "CDS -b"]);
}

#[tokio::test]
async fn what_was_saved_is_not_sent_again() {
    let control = Control::start(mesh(4, &["a"], 1)).await;
    let saved = control.snapshot().to_bytes();
    let initial = Snapshot::from_bytes(&saved).expect("what was saved");
    let options = ClientOptions {
        initial,
        ..options(&control, "one")
    };
    let mut client = Client::start(options).expect("a good endpoint");
    control.acked(4).await;
    control.publish(mesh(5, &["a"], 2));
    assert_eq!(changed(&next(&mut client).await), ["EDS a"]);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let options = ClientOptions {
        open_timeout: Duration::from_millis(50),
        ..ClientOptions::new(endpoint, Node::default())
    };
    let client = Client::start(options).expect("a good endpoint");
    let mut status = client.status();
    let given_up = status.wait_for(|status| status.attempts >= 2);
    let status = within("two attempts", given_up).await.unwrap().clone();
    assert_eq!(status.last_error.unwrap(), "the server does not answer");
}

#[tokio::test]
async fn a_refused_proxy_learns_why() {
    let control = Control::start(mesh(1, &["a"], 1)).await;
    for (id, reason) in [("nobody", "no such node"), ("guarded", "say the word")] {
        let client = start(&control, id);
        let mut status = client.status();
        let refused = status.wait_for(|status| status.last_error.is_some());
        let status = within("a refusal", refused)
            .await
            .expect("the client runs")
            .clone();
        assert!(
            status.last_error.as_ref().unwrap().contains(reason),
            "{status:?}"
        );
        assert!(!status.connected);
    }
    assert!(control.proxies.proxies().is_empty());
}

#[tokio::test]
async fn the_token_is_read_anew_for_each_connection() {
    let control = Control::start(mesh(1, &["a"], 1)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "wrong\n").expect("a file");
    let token_file = Some(file.clone());
    let options = ClientOptions {
        token_file,
        ..options(&control, "guarded")
    };
    let mut client = Client::start(options).expect("a good endpoint");
    let mut status = client.status();
    within("a refusal", status.wait_for(|s| s.attempts > 1))
        .await
        .expect("the client runs");
    std::fs::write(&file, "sesame\n").expect("a file");
    next(&mut client).await.accept();
}

#[tokio::test]
async fn a_proxy_that_does_not_read_holds_up_nobody() {
    let control = Control::start(mesh(1, &["a"], 1)).await;
    // A stream that asks for everything, never reads and never answers.
    let everything = |kind| DeltaDiscoveryRequest {
        resource_names_subscribe: vec!["*".into()],
        ..hello("slow", kind)
    };
    let slow = control.open_stream(Some(everything(Kind::Cluster))).await;
    slow.send(Kind::Endpoint, everything(Kind::Endpoint)).await;
    let is_there = |proxies: &[Proxy]| (!proxies.is_empty()).then_some(());
    control.until("the slow one is there", is_there).await;

    let mut client = start(&control, "quick");
    for port in 2..40 {
        control.publish(mesh(port.into(), &["a"], port));
        while {
            let update = next(&mut client).await;
            let behind = update.snapshot.revision() < port.into();
            update.accept();
            behind
        } {}
    }
    let acked = |proxies: &[Proxy], id: &str| {
        let proxy = proxies.iter().find(|proxy| proxy.node.id == id);
        proxy.expect("it is connected").revision_acked
    };
    let is_done = |proxies: &[Proxy]| (acked(proxies, "quick") == 39).then_some(());
    control.until("the quick one is done", is_done).await;
    assert_eq!(acked(&control.proxies.proxies(), "slow"), 0);
}

#[tokio::test]
async fn a_client_without_a_consumer_leaves() {
    let control = Control::start(mesh(1, &["a"], 1)).await;
    let mut client = start(&control, "one");
    next(&mut client).await.accept();
    drop(client);
    let is_gone = |proxies: &[Proxy]| (!proxies[0].connected).then_some(());
    control.until("the stream ends", is_gone).await;
}

#[tokio::test]
async fn nobody_waits_for_the_answer_of_a_proxy_that_has_left() {
    let control = Control::start(mesh(1, &["a"], 1)).await;
    let mut client = start(&control, "one");
    next(&mut client).await.accept();
    control.acked(1).await;
    let propagation = Arc::new(Propagation::new(2, &Causes::default(), seconds()));
    let mut edit = control.snapshot().edit(2);
    edit.insert(Resource::encode("a", &sample::endpoints("a", &[at(2)])))
        .add_propagation(propagation.clone());
    control.publish(edit.build());
    propagation.published(1);
    let _unanswered = next(&mut client).await;
    assert!(!propagation.is_done());
    drop(client);
    within("the change is done", propagation.done()).await;
}

#[test]
fn endpoints_that_are_none_are_refused_with_a_hint() {
    for endpoint in [
        "",
        "localhost",
        "ftp://localhost:1",
        "https://localhost",
        "http://",
        "a b:1",
    ] {
        let options = ClientOptions::new(endpoint, Node::default());
        let error = Client::start(options).expect_err(endpoint).to_string();
        assert!(error.contains("use host:port"), "{error}");
    }
}
