//! The delta protocol, message by message.

use std::sync::Arc;

use Kind::{Cluster, Endpoint, Listener, Route};

use super::*;
use crate::envoy::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use crate::random_mesh::versions;
use crate::server::session::test_support::{at, delta_response, kind, mesh, refusal};
use crate::server::session::{MAX_NAME_BYTES, MAX_NAMES};
use crate::{Resource, Snapshot, sample};

/// A delta stream under test.
struct Deltas(Session);

impl Deltas {
    fn new(snapshot: Snapshot) -> Deltas {
        Deltas(Session::new(Protocol::Delta, Arc::new(snapshot)))
    }

    fn send(&mut self, kind: Kind, edit: impl FnOnce(&mut DeltaDiscoveryRequest)) -> AckOrNack {
        let mut request = DeltaDiscoveryRequest {
            type_url: kind.type_url().into(),
            ..Default::default()
        };
        edit(&mut request);
        Delta::receive(&mut self.0, request).expect("a good request")
    }

    fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        let names = names.iter().map(|name| name.to_string()).collect();
        self.send(kind, |request| request.resource_names_subscribe = names);
    }

    fn unsubscribe(&mut self, kind: Kind, names: &[&str]) {
        let names = names.iter().map(|name| name.to_string()).collect();
        self.send(kind, |request| request.resource_names_unsubscribe = names);
    }

    fn ack(&mut self, kind: Kind, nonce: &str) -> AckOrNack {
        self.send(kind, |request| request.response_nonce = nonce.into())
    }

    fn nack(&mut self, kind: Kind, nonce: &str) -> AckOrNack {
        self.send(kind, |request| {
            request.response_nonce = nonce.into();
            request.error_detail = refusal();
        })
    }

    fn update(&mut self, snapshot: Snapshot) {
        self.0.update(Arc::new(snapshot));
    }

    fn next_push(&mut self) -> Option<DeltaDiscoveryResponse> {
        self.0.next_push().map(|push| delta_response(&push))
    }

    /// All responses there are, as text; each is acknowledged at once.
    fn drain(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(response) = self.next_push() {
            lines.push(line(&response));
            self.ack(kind(&response.type_url), &response.nonce);
        }
        lines
    }

    /// All responses there are; none is acknowledged.
    fn burst(&mut self) -> Vec<DeltaDiscoveryResponse> {
        std::iter::from_fn(|| self.next_push()).collect()
    }
}

/// `CDS +a +b -c`
fn line(response: &DeltaDiscoveryResponse) -> String {
    let mut line = kind(&response.type_url).to_string();
    response
        .resources
        .iter()
        .for_each(|resource| line += &format!(" +{}", resource.name));
    response
        .removed_resources
        .iter()
        .for_each(|name| line += &format!(" -{name}"));
    line
}

fn lines(responses: &[DeltaDiscoveryResponse]) -> Vec<String> {
    responses.iter().map(line).collect()
}

/// A stream with everything subscribed, sent and acknowledged.
fn settled(clusters: &[(&str, u32)]) -> Deltas {
    let mut stream = Deltas::new(mesh(1, clusters));
    stream.subscribe(Cluster, &["*"]);
    stream.subscribe(Listener, &["*"]);
    stream.subscribe(Route, &["r"]);
    let names: Vec<&str> = clusters.iter().map(|(name, _)| *name).collect();
    stream.subscribe(Endpoint, &names);
    stream.drain();
    assert!(stream.0.is_synced());
    stream
}

#[test]
fn the_first_empty_subscription_means_everything() {
    let mut stream = Deltas::new(mesh(1, &[("a", 1), ("b", 1)]));
    stream.send(Cluster, |_| {});
    assert_eq!(stream.drain(), ["CDS +a +b"]);
    stream.send(Endpoint, |_| {});
    assert!(
        stream.drain().is_empty(),
        "endpoints have no wildcard of the old form"
    );
}

#[test]
fn a_wildcard_without_resources_is_answered_all_the_same() {
    let mut stream = Deltas::new(Snapshot::default());
    stream.subscribe(Cluster, &["*"]);
    assert_eq!(stream.drain(), ["CDS"]);
    assert!(stream.0.is_synced());
}

#[test]
fn additions_go_from_clusters_to_routes() {
    let subscribe = |stream: &mut Deltas| {
        stream.subscribe(Route, &["r"]);
        stream.subscribe(Listener, &["*"]);
        stream.subscribe(Endpoint, &["a"]);
        stream.subscribe(Cluster, &["*"]);
    };
    let mut stream = Deltas::new(mesh(1, &[("a", 1)]));
    stream.0 = stream.0.with_atomic_updates();
    subscribe(&mut stream);
    assert_eq!(
        lines(&stream.burst()),
        ["CDS +a", "EDS +a", "LDS +l", "RDS +r"]
    );
    // Other clients get listeners and routes when the clusters are warm.
    let mut stream = Deltas::new(mesh(1, &[("a", 1)]));
    subscribe(&mut stream);
    assert_eq!(lines(&stream.burst()), ["CDS +a", "EDS +a"]);
    stream.ack(Cluster, "1");
    assert!(stream.next_push().is_none());
    stream.ack(Endpoint, "2");
    assert_eq!(lines(&stream.burst()), ["LDS +l", "RDS +r"]);
}

#[test]
fn removals_wait_until_everything_new_is_accepted() {
    let mut stream = settled(&[("a", 1)]);
    // The route moves from a to b; a goes away.
    stream.update(mesh(2, &[("b", 1)]));
    let clusters = stream.next_push().expect("the new cluster");
    assert!(stream.next_push().is_none(), "b is not usable yet");
    stream.ack(Cluster, &clusters.nonce);
    let routes = stream.burst();
    assert_eq!(
        (line(&clusters), lines(&routes)),
        ("CDS +b".into(), vec!["RDS +r".into()])
    );
    assert!(
        stream.next_push().is_none(),
        "the route to a may still be in use"
    );
    stream.ack(Route, &routes[0].nonce);
    assert_eq!(stream.drain(), ["CDS -a", "EDS -a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn a_route_does_not_overtake_a_cluster_that_comes_back_while_its_removal_is_in_flight() {
    for adopts_whole in [true, false] {
        let mut stream = settled(&[("a", 1)]);
        if adopts_whole {
            stream.0 = stream.0.with_atomic_updates();
        }
        // The route moves from a to b, and everything new is accepted.
        stream.update(mesh(2, &[("b", 1)]));
        let removal = loop {
            let response = stream.next_push().expect("the removal comes in the end");
            if !response.removed_resources.is_empty() {
                break response;
            }
            stream.ack(kind(&response.type_url), &response.nonce);
        };
        assert_eq!(line(&removal), "CDS -a");
        // It turns back before the removal is answered.
        stream.update(mesh(3, &[("a", 1)]));
        let early = lines(&stream.burst());
        assert!(!early.contains(&"RDS +r".into()), "{early:?}");
        stream.ack(Cluster, &removal.nonce);
        let rest = stream.drain();
        let place = |wanted: &str| rest.iter().position(|line| line == wanted);
        assert!(place("CDS +a").is_some(), "{rest:?}");
        assert!(place("CDS +a") < place("RDS +r"), "{rest:?}");
    }
}

#[test]
fn routes_wait_for_the_endpoints_of_new_clusters_but_not_for_busy_ones() {
    let mut stream = settled(&[("a", 1)]);
    let busy = |port: u16| Resource::encode("a", &sample::endpoints("a", &[at(port)]));
    // a changes its endpoints all the time; its response is never answered.
    stream.update(stream.0.snapshot().edit(2).with(busy(90)).build());
    assert_eq!(lines(&stream.burst()), ["EDS +a"]);
    let routes = Resource::encode("r", &sample::routes("r", "other"));
    let edit = stream.0.snapshot().edit(3).with(busy(91)).with(routes);
    stream.update(edit.build());
    assert_eq!(lines(&stream.burst()), ["RDS +r"]);

    // With a new cluster the next route waits, until its endpoints are there.
    let mut stream = settled(&[("a", 1)]);
    stream.update(mesh(2, &[("b", 1), ("a", 1)]));
    let clusters = stream.next_push().expect("the new cluster");
    stream.subscribe(Endpoint, &["b"]);
    stream.ack(Cluster, &clusters.nonce);
    let endpoints = stream.burst();
    assert_eq!(lines(&endpoints), ["EDS +b"]);
    stream.ack(Endpoint, &endpoints[0].nonce);
    assert_eq!(lines(&stream.burst()), ["RDS +r"]);
}

#[test]
fn clusters_that_never_rest_do_not_starve_routes() {
    let mut stream = settled(&[("a", 1)]);
    let mut routes_sent = false;
    for revision in 2..30 {
        let routes = Resource::encode("r", &sample::routes("r", "moved"));
        let mesh = mesh(revision.into(), &[("a", revision)])
            .edit(revision.into())
            .with(routes);
        stream.update(mesh.build());
        // Whenever an answer comes there is a newer version already.
        for response in stream.burst() {
            routes_sent |= line(&response) == "RDS +r";
            let newer = sample::cluster("a", "a", revision + 1000);
            let edit = stream.0.snapshot().edit(revision.into());
            stream.update(edit.with(Resource::encode("a", &newer)).build());
            stream.ack(kind(&response.type_url), &response.nonce);
        }
    }
    assert!(routes_sent);
}

#[test]
fn what_a_rejected_route_replaced_is_not_taken_away() {
    let mut stream = settled(&[("a", 1)]);
    stream.update(mesh(2, &[("b", 1)]));
    let clusters = stream.next_push().expect("the new cluster");
    stream.ack(Cluster, &clusters.nonce);
    let routes = stream.next_push().expect("the route to it");
    stream.nack(Route, &routes.nonce);
    assert!(stream.drain().is_empty(), "the old route still sends to a");
    assert!(!stream.0.is_synced());
    // A next version of the route is accepted: now a can go.
    let fixed = sample::routes("r", "c");
    stream.update(
        mesh(3, &[("b", 1)])
            .edit(3)
            .with(Resource::encode("r", &fixed))
            .build(),
    );
    assert_eq!(stream.drain(), ["RDS +r", "CDS -a", "EDS -a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn names_that_do_not_exist_are_answered_as_removed_and_sent_when_they_come() {
    let mut stream = Deltas::new(mesh(1, &[("a", 1)]));
    stream.subscribe(Endpoint, &["a", "b"]);
    assert_eq!(stream.drain(), ["EDS +a -b"]);
    stream.update(mesh(2, &[("a", 1), ("b", 1)]));
    assert_eq!(stream.drain(), ["EDS +b"]);
}

#[test]
fn an_unchanged_snapshot_sends_nothing() {
    let mut stream = settled(&[("a", 1)]);
    stream.update(mesh(2, &[("a", 1)]));
    assert!(stream.drain().is_empty());
    assert!(stream.0.is_synced());
}

#[test]
fn changes_are_coalesced_while_a_response_is_in_flight() {
    let mut stream = settled(&[("a", 1)]);
    stream.update(mesh(2, &[("a", 2)]));
    let burst = stream.burst();
    assert_eq!(lines(&burst), ["CDS +a", "EDS +a"]);
    for revision in 3..9 {
        stream.update(mesh(revision.into(), &[("a", revision)]));
        assert!(stream.next_push().is_none());
    }
    stream.ack(Cluster, &burst[0].nonce);
    let next = stream.next_push().expect("the newest version");
    assert_eq!(
        (line(&next), &*next.system_version_info),
        ("CDS +a".into(), "8")
    );
}

#[test]
fn an_answer_with_an_old_nonce_is_ignored() {
    let mut stream = settled(&[("a", 1)]);
    stream.update(mesh(2, &[("a", 2)]));
    let push = stream.next_push().expect("a change");
    assert_eq!(stream.nack(Cluster, "1"), AckOrNack::None);
    assert_eq!(stream.ack(Cluster, "never sent"), AckOrNack::None);
    let acked = AckOrNack::Acked {
        kind: Cluster,
        revision: 2,
    };
    assert_eq!(stream.ack(Cluster, &push.nonce), acked);
    assert_eq!(stream.ack(Cluster, &push.nonce), AckOrNack::None);
}

#[test]
fn a_rejected_version_is_not_sent_again_but_the_next_one_is() {
    let mut stream = settled(&[("a", 1), ("b", 1)]);
    stream.update(mesh(2, &[("a", 2), ("b", 1)]));
    let push = stream.next_push().expect("a change");
    let AckOrNack::Rejected {
        names,
        reason,
        revision,
        ..
    } = stream.nack(Cluster, &push.nonce)
    else {
        panic!("a rejection")
    };
    assert_eq!((names, &*reason, revision), (vec!["a".into()], "no", 2));
    stream.drain();
    stream.update(mesh(3, &[("a", 2), ("b", 1)]));
    assert!(stream.drain().is_empty());
    stream.update(mesh(4, &[("a", 2), ("b", 2)]));
    assert_eq!(stream.drain(), ["CDS +b", "EDS +b"]);
    assert!(!stream.0.is_synced(), "a is still rejected");
    stream.update(mesh(5, &[("a", 3), ("b", 2)]));
    assert_eq!(stream.drain(), ["CDS +a", "EDS +a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn a_client_that_comes_back_gets_the_difference() {
    let old = mesh(1, &[("a", 1), ("b", 1), ("c", 1)]);
    let mut stream = Deltas::new(mesh(2, &[("a", 1), ("b", 2), ("d", 1)]));
    let hold = |stream: &mut Deltas, kind, names: &[&str]| {
        stream.send(kind, |request| {
            request.resource_names_subscribe = names.iter().map(|name| name.to_string()).collect();
            request.initial_resource_versions = versions(&old, kind).into_iter().collect();
        });
    };
    hold(&mut stream, Cluster, &["*"]);
    hold(&mut stream, Endpoint, &["a", "c"]);
    assert_eq!(stream.drain(), ["CDS +b +d", "CDS -c", "EDS -c"]);
    let mut same = Deltas::new(old.clone());
    hold(&mut same, Cluster, &[]);
    assert!(same.drain().is_empty(), "it has everything already");
    assert!(same.0.is_synced());
}

#[test]
fn a_client_that_comes_back_gets_endpoints_for_clusters_that_changed() {
    let mut stream = Deltas::new(mesh(2, &[("a", 2)]));
    stream.subscribe(Cluster, &["*"]);
    stream.subscribe(Listener, &["*"]);
    assert_eq!(lines(&stream.burst()), ["CDS +a"]);
    // On its way before the cluster came: it has the endpoints already, but the new version
    // of the cluster does not.
    let held = mesh(1, &[("a", 1)])
        .get(Endpoint, "a")
        .expect("endpoints")
        .clone();
    stream.send(Endpoint, |request| {
        request.resource_names_subscribe = vec!["a".into()];
        let version = (held.name().to_string(), held.version().to_string());
        request.initial_resource_versions = [version].into();
    });
    stream.ack(Cluster, "1");
    assert_eq!(stream.drain(), ["EDS +a", "LDS +l"]);
}

#[test]
fn a_name_that_is_asked_for_again_is_sent_again() {
    let mut stream = settled(&[("a", 1)]);
    stream.subscribe(Endpoint, &["a"]);
    assert_eq!(stream.drain(), ["EDS +a"]);
}

#[test]
fn an_unsubscribed_name_is_not_sent_any_more() {
    let mut stream = settled(&[("a", 1), ("b", 1)]);
    stream.unsubscribe(Endpoint, &["a"]);
    let mut edit = stream.0.snapshot().edit(2);
    for name in ["a", "b"] {
        edit.insert(Resource::encode(name, &sample::endpoints(name, &[at(99)])));
    }
    stream.update(edit.build());
    assert_eq!(stream.drain(), ["EDS +b"]);
}

#[test]
fn unsubscribing_a_name_under_a_wildcard_is_answered() {
    let mut stream = Deltas::new(mesh(1, &[("a", 1)]));
    stream.subscribe(Cluster, &["*", "a", "b"]);
    assert_eq!(stream.drain(), ["CDS +a -b"]);
    // The client has dropped both and waits to hear what the wildcard says about them.
    stream.unsubscribe(Cluster, &["a", "b"]);
    assert_eq!(stream.drain(), ["CDS +a", "CDS -b"]);
    stream.unsubscribe(Cluster, &["*"]);
    stream.update(mesh(2, &[("a", 2)]));
    assert!(stream.drain().is_empty(), "nothing is subscribed any more");
}

#[test]
fn a_changed_cluster_brings_its_endpoints_again() {
    let mut stream = settled(&[("a", 1), ("b", 1)]);
    stream.update(mesh(2, &[("a", 2), ("b", 1)]));
    assert_eq!(stream.drain(), ["CDS +a", "EDS +a"]);
}

#[test]
fn unknown_types_and_endless_names_do_no_harm() {
    let mut stream = Deltas::new(mesh(1, &[("a", 1)]));
    let unknown = DeltaDiscoveryRequest {
        type_url: "nonsense".into(),
        ..Default::default()
    };
    assert_eq!(Delta::receive(&mut stream.0, unknown), Ok(AckOrNack::None));
    let mut request = DeltaDiscoveryRequest {
        type_url: Endpoint.type_url().into(),
        ..Default::default()
    };
    request.resource_names_subscribe = vec!["x".repeat(MAX_NAME_BYTES + 1)];
    let long = Delta::receive(&mut stream.0, request.clone());
    assert_eq!(long, Err(Violation::LongName(MAX_NAME_BYTES + 1)));
    request.resource_names_subscribe = (0..=MAX_NAMES).map(|n| n.to_string()).collect();
    assert_eq!(
        Delta::receive(&mut stream.0, request),
        Err(Violation::TooManyNames)
    );
}
