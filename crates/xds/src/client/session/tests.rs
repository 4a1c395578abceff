use std::collections::VecDeque;
use std::net::SocketAddr;

use prost::Message;

use super::*;
use crate::envoy::pb::google::protobuf::Any;
use crate::random_mesh::{Mesh, for_seeds, versions};
use crate::sample;
use crate::server::session::delta::Delta;
use crate::server::session::test_support::delta_response;
use crate::server::session::{self as server, AckOrNack, Protocol, ProtocolVariant};
use fastrand::Rng;

use Kind::{Cluster, Endpoint, Listener, Route};

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn response(
    kind: Kind,
    nonce: &str,
    resources: &[&Resource],
    removed: &[&str],
) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        system_version_info: "7".into(),
        type_url: kind.type_url().into(),
        nonce: nonce.into(),
        resources: resources
            .iter()
            .map(|resource| Wire::decode(resource.wire_bytes()).expect("our own bytes"))
            .collect(),
        removed_resources: removed.iter().map(|name| name.to_string()).collect(),
        ..Default::default()
    }
}

fn cluster(name: &str, service: &str, timeout: u32) -> Resource {
    Resource::encode(name, &sample::cluster(name, service, timeout))
}

fn endpoints(name: &str, port: u16) -> Resource {
    Resource::encode(name, &sample::endpoints(name, &[at(port)]))
}

fn connected(initial: Snapshot) -> Session {
    let mut session = Session::new(core::Node::default(), initial);
    session.connect();
    session
}

/// `EDS +a -b`
fn asks(requests: &[DeltaDiscoveryRequest]) -> Vec<String> {
    let line = |request: &DeltaDiscoveryRequest| {
        let mut line = Kind::from_type_url(&request.type_url).unwrap().to_string();
        request
            .resource_names_subscribe
            .iter()
            .for_each(|name| line += &format!(" +{name}"));
        request
            .resource_names_unsubscribe
            .iter()
            .for_each(|name| line += &format!(" -{name}"));
        if !request.response_nonce.is_empty() {
            line += if request.error_detail.is_some() {
                " nack "
            } else {
                " ack "
            };
            line += &request.response_nonce;
        }
        line
    };
    requests.iter().map(line).collect()
}

#[test]
fn an_update_is_complete_when_what_it_refers_to_has_come() {
    let mut session = connected(Snapshot::default());
    let (a, b) = (cluster("a", "x", 1), cluster("b", "y", 1));
    assert_eq!(
        asks(&session.receive(response(Cluster, "1", &[&a, &b], &[]))),
        ["EDS +x +y"]
    );
    assert!(session.is_pending() && !session.is_complete());
    session.receive(response(Endpoint, "2", &[&endpoints("x", 1)], &["y"]));
    assert!(session.is_complete(), "y is known not to exist");
    let update = session.pending_update().expect("three resources");
    let names: Vec<&str> = update
        .changed
        .iter()
        .map(|resource| &**resource.name())
        .collect();
    assert_eq!(names, ["a", "b", "x"]);
    assert_eq!(update.snapshot.revision(), 7);
    assert_eq!(
        asks(&session.answer(Vec::new())),
        ["CDS ack 1", "EDS ack 2"]
    );
    assert_eq!(session.adopted, *update.snapshot);
}

#[test]
fn a_rejected_resource_keeps_its_old_version_and_rejects_only_itself() {
    let mut session = connected(Snapshot::default());
    session.receive(response(Cluster, "1", &[&cluster("a", "x", 1)], &[]));
    session.receive(response(Endpoint, "2", &[&endpoints("x", 1)], &[]));
    session.answer(Vec::new());
    let changed = [&cluster("a", "y", 2), &cluster("b", "x", 2)];
    assert_eq!(
        asks(&session.receive(response(Cluster, "3", &changed, &[]))),
        ["EDS +y"]
    );
    session.receive(response(Endpoint, "4", &[&endpoints("y", 1)], &[]));
    let reason = "timeout too long".to_owned();
    let rejection = Rejection {
        kind: Cluster,
        name: "a".into(),
        reason,
    };
    let answers = session.answer(vec![rejection]);
    // y was needed by the rejected version only; x is still needed by the old one.
    assert_eq!(asks(&answers), ["CDS nack 3", "EDS ack 4", "EDS -y"]);
    assert_eq!(
        answers[0].error_detail.as_ref().unwrap().message,
        "a: timeout too long"
    );
    let adopted = &session.adopted;
    assert_eq!(
        adopted.get(Cluster, "a").unwrap().version(),
        cluster("a", "x", 1).version()
    );
    assert!(adopted.get(Cluster, "b").is_some());
    assert!(adopted.get(Endpoint, "x").is_some());
}

#[test]
fn what_is_held_is_told_on_the_next_stream() {
    let initial = Snapshot::builder(3)
        .with(cluster("a", "x", 1))
        .with(endpoints("x", 1))
        .build();
    let mut session = Session::new(
        core::Node {
            id: "me".into(),
            ..Default::default()
        },
        initial,
    );
    for _ in 0..2 {
        let requests = session.connect();
        assert_eq!(asks(&requests), ["CDS +*", "LDS +*", "EDS +x"]);
        assert_eq!(requests[0].node.as_ref().unwrap().id, "me");
        assert!(requests[1].node.is_none());
        let version = endpoints("x", 1).version().to_string();
        assert_eq!(
            requests[2].initial_resource_versions.get("x"),
            Some(&version)
        );
        // What is not answered when the stream ends is forgotten.
        session.receive(response(Cluster, "1", &[], &["a"]));
    }
}

#[test]
fn a_resource_that_cannot_be_read_is_rejected_before_the_consumer_sees_it() {
    let mut session = connected(Snapshot::default());
    let mut bad = response(
        Cluster,
        "1",
        &[&cluster("a", "x", 1), &cluster("b", "", 1)],
        &[],
    );
    bad.resources[0].resource = Some(Any {
        type_url: "nonsense".into(),
        value: Vec::new(),
    });
    bad.resources[1].resource = None;
    session.receive(bad);
    assert!(session.pending_update().is_none());
    let answers = session.answer(Vec::new());
    let detail = &answers[0].error_detail.as_ref().unwrap().message;
    assert_eq!(
        detail,
        r#"a: the body is a "nonsense"; b: the resource has no body"#
    );
    let unknown = DeltaDiscoveryResponse {
        type_url: "nonsense".into(),
        ..Default::default()
    };
    assert!(session.receive(unknown).is_empty() && !session.is_pending());
}

/// A server and a client with a network between them that delivers messages at random times.
struct Pair {
    client: Session,
    server: server::Session,
    up: VecDeque<DeltaDiscoveryRequest>,
    down: VecDeque<DeltaDiscoveryResponse>,
    in_flight: BTreeSet<Kind>,
}

impl Pair {
    fn new(snapshot: Snapshot, whole: bool) -> Pair {
        let mut client = Session::new(core::Node::default(), Snapshot::default());
        let up = client.connect().into();
        let server = server::Session::new(Protocol::Delta, Arc::new(snapshot));
        let server = if whole {
            server.with_atomic_updates()
        } else {
            server
        };
        Pair {
            client,
            server,
            up,
            down: VecDeque::new(),
            in_flight: BTreeSet::new(),
        }
    }

    fn reconnect(&mut self) {
        let snapshot = self.server.snapshot().clone();
        self.server = server::Session::new(Protocol::Delta, snapshot);
        self.down.clear();
        self.in_flight.clear();
        self.up = self.client.connect().into();
    }

    fn deliver_up(&mut self) -> bool {
        let Some(request) = self.up.pop_front() else {
            return false;
        };
        match Delta::receive(&mut self.server, request).expect("a good request") {
            AckOrNack::Acked { kind, .. } | AckOrNack::Rejected { kind, .. } => {
                assert!(self.in_flight.remove(&kind), "an answer to nothing");
            }
            AckOrNack::None => {}
        }
        true
    }

    fn push(&mut self) -> bool {
        let Some(push) = self.server.next_push() else {
            return false;
        };
        assert!(
            self.in_flight.insert(push.kind),
            "two responses in flight: {push:?}"
        );
        let is_new = |resource: &Arc<Resource>| {
            self.server.snapshot().get(push.kind, resource.name()) == Some(resource)
        };
        assert!(
            push.resources.iter().all(is_new),
            "an old version: {push:?}"
        );
        self.down.push_back(delta_response(&push));
        true
    }

    fn deliver_down(&mut self) -> bool {
        let Some(response) = self.down.pop_front() else {
            return false;
        };
        self.up.extend(self.client.receive(response));
        true
    }

    /// Adopts what is pending, rejecting one in `rejects` (0: none).
    fn adopt(&mut self, rng: &mut Rng, rejects: usize) -> bool {
        if !self.client.is_pending() {
            return false;
        }
        let changed = self
            .client
            .pending_update()
            .map(|update| update.changed)
            .unwrap_or_default();
        let bad = changed
            .iter()
            .filter(|_| rejects > 0 && rng.usize(..rejects) == 0);
        let rejections = bad.map(|resource| Rejection {
            kind: resource.kind(),
            name: resource.name().clone(),
            reason: "rejected at random".into(),
        });
        let rejections = rejections.collect();
        self.up.extend(self.client.answer(rejections));
        true
    }

    fn settle(&mut self, rng: &mut Rng) {
        for _ in 0..10_000 {
            let moved = self.deliver_up() | self.push() | self.deliver_down();
            if !moved && !self.adopt(rng, 0) {
                return;
            }
        }
        panic!("the stream never comes to rest");
    }
}

#[test]
fn any_client_converges_to_the_snapshot_of_the_server() {
    for_seeds(200, |seed| {
        let mut rng = Rng::with_seed(seed);
        let mut mesh = Mesh::default();
        mesh.change(&mut rng);
        let mut pair = Pair::new(mesh.snapshot(), rng.usize(..2) == 0);
        for _ in 0..200 {
            match rng.usize(..13) {
                0 => {
                    mesh.change(&mut rng);
                    pair.server.update(Arc::new(mesh.snapshot()));
                }
                1 if rng.usize(..4) == 0 => pair.reconnect(),
                2 => drop(pair.adopt(&mut rng, 4)),
                3 if pair.client.is_complete() => drop(pair.adopt(&mut rng, 0)),
                4..=6 => drop(pair.deliver_up()),
                7..=9 => drop(pair.push()),
                _ => drop(pair.deliver_down()),
            }
        }
        pair.settle(&mut rng);
        assert!(
            pair.server.is_sent(),
            "held back for ever: {:?}",
            pair.server
        );
        // Rejected versions are replaced, or the client would rightly stay behind.
        mesh.replace_all();
        pair.server.update(Arc::new(mesh.snapshot()));
        pair.settle(&mut rng);

        assert!(pair.server.is_synced(), "{:?}", pair.server);
        // `pending` is what is adopted without what nothing refers to any more.
        let held = &pair.client.pending;
        for kind in [Cluster, Listener] {
            assert_eq!(versions(held, kind), versions(&mesh.snapshot(), kind));
        }
        for kind in [Endpoint, Route] {
            let mut expected = versions(&mesh.snapshot(), kind);
            let referenced = referenced(kind, [held]);
            expected.retain(|name, _| referenced.contains(name.as_str()));
            assert_eq!(versions(held, kind), expected);
        }
    });
}
