//! The protocol, message by message.

use std::net::SocketAddr;
use std::sync::Arc;

use super::delta::Delta;
use super::sotw::Sotw;
use super::*;
use crate::envoy::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use crate::envoy::pb::google::rpc;
use crate::sample;
use crate::weather::named;

use Kind::{Cluster, Endpoint, Listener, Route};

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A listener `l`, its routes `r`, and a cluster with endpoints for each name given.
fn mesh(revision: u64, clusters: &[(&str, u32)]) -> Snapshot {
    let mut builder = Snapshot::builder(revision);
    builder.insert(Resource::encode(
        "l",
        &sample::listener("l", at(80), "r", "l"),
    ));
    let first = clusters.first().map_or("none", |(name, _)| name);
    builder.insert(Resource::encode("r", &sample::routes("r", first)));
    for (name, timeout) in clusters {
        builder.insert(Resource::encode(
            *name,
            &sample::cluster(name, name, *timeout),
        ));
        builder.insert(Resource::encode(*name, &sample::endpoints(name, &[at(81)])));
    }
    builder.build()
}

fn refusal() -> Option<rpc::Status> {
    Some(rpc::Status {
        code: 3,
        message: "no".into(),
        details: Vec::new(),
    })
}

/// A delta stream under test.
struct Deltas(Session);

impl Deltas {
    fn new(snapshot: Snapshot) -> Deltas {
        Deltas(Session::new(Protocol::Delta, Arc::new(snapshot)))
    }

    fn send(&mut self, kind: Kind, edit: impl FnOnce(&mut DeltaDiscoveryRequest)) -> Receipt {
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

    fn ack(&mut self, kind: Kind, nonce: &str) -> Receipt {
        self.send(kind, |request| request.response_nonce = nonce.into())
    }

    fn nack(&mut self, kind: Kind, nonce: &str) -> Receipt {
        self.send(kind, |request| {
            request.response_nonce = nonce.into();
            request.error_detail = refusal();
        })
    }

    fn pull(&mut self) -> Option<DeltaDiscoveryResponse> {
        self.0.pull().map(Delta::respond)
    }

    /// All responses there are, as text; each is acknowledged at once.
    fn drain(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(response) = self.pull() {
            lines.push(line(&response));
            self.ack(kind(&response.type_url), &response.nonce);
        }
        lines
    }

    /// All responses there are; none is acknowledged.
    fn burst(&mut self) -> Vec<DeltaDiscoveryResponse> {
        std::iter::from_fn(|| self.pull()).collect()
    }
}

fn kind(type_url: &str) -> Kind {
    Kind::from_type_url(type_url).expect("a known type")
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
    stream.0 = stream.0.adopting_whole();
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
    assert!(stream.pull().is_none());
    stream.ack(Endpoint, "2");
    assert_eq!(lines(&stream.burst()), ["LDS +l", "RDS +r"]);
}

#[test]
fn removals_wait_until_everything_new_is_accepted() {
    let mut stream = settled(&[("a", 1)]);
    // The route moves from a to b; a goes away.
    stream.0.update(Arc::new(mesh(2, &[("b", 1)])));
    let clusters = stream.pull().expect("the new cluster");
    assert!(stream.pull().is_none(), "b is not usable yet");
    stream.ack(Cluster, &clusters.nonce);
    let routes = stream.burst();
    assert_eq!(
        (line(&clusters), lines(&routes)),
        ("CDS +b".into(), vec!["RDS +r".into()])
    );
    assert!(
        stream.pull().is_none(),
        "the route to a may still be in use"
    );
    stream.ack(Route, &routes[0].nonce);
    assert_eq!(stream.drain(), ["CDS -a", "EDS -a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn routes_wait_for_the_endpoints_of_new_clusters_but_not_for_busy_ones() {
    let mut stream = settled(&[("a", 1)]);
    let busy = |port: u16| Resource::encode("a", &sample::endpoints("a", &[at(port)]));
    // a changes its endpoints all the time; its response is never answered.
    stream
        .0
        .update(Arc::new(stream.0.snapshot().edit(2).with(busy(90)).build()));
    assert_eq!(lines(&stream.burst()), ["EDS +a"]);
    let routes = Resource::encode("r", &sample::routes("r", "other"));
    let edit = stream.0.snapshot().edit(3).with(busy(91)).with(routes);
    stream.0.update(Arc::new(edit.build()));
    assert_eq!(lines(&stream.burst()), ["RDS +r"]);

    // With a new cluster the next route waits, until its endpoints are there.
    let mut stream = settled(&[("a", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("b", 1), ("a", 1)])));
    let clusters = stream.pull().expect("the new cluster");
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
        stream.0.update(Arc::new(mesh.build()));
        // Whenever an answer comes there is a newer version already.
        for response in stream.burst() {
            routes_sent |= line(&response) == "RDS +r";
            let newer = sample::cluster("a", "a", revision + 1000);
            let edit = stream.0.snapshot().edit(revision.into());
            stream
                .0
                .update(Arc::new(edit.with(Resource::encode("a", &newer)).build()));
            stream.ack(kind(&response.type_url), &response.nonce);
        }
    }
    assert!(routes_sent);
}

#[test]
fn what_a_rejected_route_replaced_is_not_taken_away() {
    let mut stream = settled(&[("a", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("b", 1)])));
    let clusters = stream.pull().expect("the new cluster");
    stream.ack(Cluster, &clusters.nonce);
    let routes = stream.pull().expect("the route to it");
    stream.nack(Route, &routes.nonce);
    assert!(stream.drain().is_empty(), "the old route still sends to a");
    assert!(!stream.0.is_synced());
    // A next version of the route is accepted: now a can go.
    let fixed = sample::routes("r", "c");
    stream.0.update(Arc::new(
        mesh(3, &[("b", 1)])
            .edit(3)
            .with(Resource::encode("r", &fixed))
            .build(),
    ));
    assert_eq!(stream.drain(), ["RDS +r", "CDS -a", "EDS -a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn names_that_do_not_exist_are_answered_as_removed_and_sent_when_they_come() {
    let mut stream = Deltas::new(mesh(1, &[("a", 1)]));
    stream.subscribe(Endpoint, &["a", "b"]);
    assert_eq!(stream.drain(), ["EDS +a -b"]);
    stream.0.update(Arc::new(mesh(2, &[("a", 1), ("b", 1)])));
    assert_eq!(stream.drain(), ["EDS +b"]);
}

#[test]
fn an_unchanged_snapshot_sends_nothing() {
    let mut stream = settled(&[("a", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("a", 1)])));
    assert!(stream.drain().is_empty());
    assert!(stream.0.is_synced());
}

#[test]
fn changes_are_coalesced_while_a_response_is_in_flight() {
    let mut stream = settled(&[("a", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("a", 2)])));
    let burst = stream.burst();
    assert_eq!(lines(&burst), ["CDS +a", "EDS +a"]);
    for revision in 3..9 {
        stream
            .0
            .update(Arc::new(mesh(revision.into(), &[("a", revision)])));
        assert!(stream.pull().is_none());
    }
    stream.ack(Cluster, &burst[0].nonce);
    let next = stream.pull().expect("the newest version");
    assert_eq!(
        (line(&next), &*next.system_version_info),
        ("CDS +a".into(), "8")
    );
}

#[test]
fn an_answer_with_an_old_nonce_is_ignored() {
    let mut stream = settled(&[("a", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("a", 2)])));
    let push = stream.pull().expect("a change");
    assert_eq!(stream.nack(Cluster, "1"), Receipt::None);
    assert_eq!(stream.ack(Cluster, "never sent"), Receipt::None);
    let acked = Receipt::Acked {
        kind: Cluster,
        revision: 2,
    };
    assert_eq!(stream.ack(Cluster, &push.nonce), acked);
    assert_eq!(stream.ack(Cluster, &push.nonce), Receipt::None);
}

#[test]
fn a_rejected_version_is_not_sent_again_but_the_next_one_is() {
    let mut stream = settled(&[("a", 1), ("b", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("a", 2), ("b", 1)])));
    let push = stream.pull().expect("a change");
    let Receipt::Rejected {
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
    stream.0.update(Arc::new(mesh(3, &[("a", 2), ("b", 1)])));
    assert!(stream.drain().is_empty());
    stream.0.update(Arc::new(mesh(4, &[("a", 2), ("b", 2)])));
    assert_eq!(stream.drain(), ["CDS +b", "EDS +b"]);
    assert!(!stream.0.is_synced(), "a is still rejected");
    stream.0.update(Arc::new(mesh(5, &[("a", 3), ("b", 2)])));
    assert_eq!(stream.drain(), ["CDS +a", "EDS +a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn a_client_that_comes_back_gets_the_difference() {
    let old = mesh(1, &[("a", 1), ("b", 1), ("c", 1)]);
    let mut stream = Deltas::new(mesh(2, &[("a", 1), ("b", 2), ("d", 1)]));
    for (kind, names) in [
        (Cluster, vec!["*".into()]),
        (Endpoint, vec!["a".into(), "c".into()]),
    ] {
        let held = old.resources(kind).values();
        let initial = held
            .map(|r| (r.name().to_string(), r.version().to_string()))
            .collect();
        stream.send(kind, |request| {
            request.resource_names_subscribe = names;
            request.initial_resource_versions = initial;
        });
    }
    assert_eq!(stream.drain(), ["CDS +b +d", "CDS -c", "EDS -c"]);
    let mut same = Deltas::new(old.clone());
    let held = old.resources(Cluster).values();
    let initial = held
        .map(|r| (r.name().to_string(), r.version().to_string()))
        .collect();
    same.send(Cluster, |request| {
        request.initial_resource_versions = initial
    });
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
    stream.0.update(Arc::new(edit.build()));
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
    stream.0.update(Arc::new(mesh(2, &[("a", 2)])));
    assert!(stream.drain().is_empty(), "nothing is subscribed any more");
}

#[test]
fn a_changed_cluster_brings_its_endpoints_again() {
    let mut stream = settled(&[("a", 1), ("b", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("a", 2), ("b", 1)])));
    assert_eq!(stream.drain(), ["CDS +a", "EDS +a"]);
}

#[test]
fn unknown_types_and_endless_names_do_no_harm() {
    let mut stream = Deltas::new(mesh(1, &[("a", 1)]));
    let unknown = DeltaDiscoveryRequest {
        type_url: "nonsense".into(),
        ..Default::default()
    };
    assert_eq!(Delta::receive(&mut stream.0, unknown), Ok(Receipt::None));
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

/// A state-of-the-world stream under test.
struct Worlds(Session);

impl Worlds {
    fn new(snapshot: Snapshot) -> Worlds {
        Worlds(Session::new(Protocol::Sotw, Arc::new(snapshot)))
    }

    fn send(&mut self, kind: Kind, nonce: &str, names: &[&str], error: bool) -> Receipt {
        let request = DiscoveryRequest {
            type_url: kind.type_url().into(),
            response_nonce: nonce.into(),
            resource_names: names.iter().map(|name| name.to_string()).collect(),
            error_detail: if error { refusal() } else { None },
            ..Default::default()
        };
        Sotw::receive(&mut self.0, request).expect("a good request")
    }

    fn pull(&mut self) -> Option<DiscoveryResponse> {
        self.0.pull().map(Sotw::respond)
    }

    /// All responses, acknowledged at once with these names for endpoints and `r`.
    fn drain(&mut self, endpoints: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(response) = self.pull() {
            lines.push(world(&response));
            let kind = kind(&response.type_url);
            let names: &[&str] = match kind {
                Endpoint => endpoints,
                Route => &["r"],
                _ => &[],
            };
            self.send(kind, &response.nonce, names, false);
        }
        lines
    }
}

/// `CDS a b`
fn world(response: &DiscoveryResponse) -> String {
    let mut line = kind(&response.type_url).to_string();
    response
        .resources
        .iter()
        .for_each(|any| line += &format!(" {}", named(any).name()));
    line
}

fn settled_world(clusters: &[(&str, u32)]) -> Worlds {
    let mut stream = Worlds::new(mesh(1, clusters));
    let names: Vec<&str> = clusters.iter().map(|(name, _)| *name).collect();
    stream.send(Cluster, "", &[], false);
    stream.send(Listener, "", &[], false);
    stream.send(Endpoint, "", &names, false);
    stream.send(Route, "", &["r"], false);
    stream.drain(&names);
    assert!(stream.0.is_synced());
    stream
}

#[test]
fn sotw_lists_all_clusters_but_only_changed_endpoints() {
    let mut stream = settled_world(&[("a", 1), ("b", 1)]);
    let mut edit = stream.0.snapshot().edit(2);
    edit.insert(Resource::encode("b", &sample::endpoints("b", &[at(99)])));
    stream.0.update(Arc::new(edit.build()));
    assert_eq!(stream.drain(&["a", "b"]), ["EDS b"]);
    stream.0.update(Arc::new(mesh(3, &[("a", 1), ("b", 2)])));
    assert_eq!(stream.drain(&["a", "b"]), ["CDS a b", "EDS b"]);
}

#[test]
fn sotw_sends_endpoints_again_with_their_cluster() {
    let mut stream = settled_world(&[("a", 1), ("b", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("a", 2), ("b", 1)])));
    assert_eq!(stream.drain(&["a", "b"]), ["CDS a b", "EDS a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_keeps_removed_clusters_listed_until_routes_have_moved() {
    let mut stream = settled_world(&[("a", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("b", 1)])));
    let clusters = stream.pull().expect("clusters");
    assert_eq!(world(&clusters), "CDS a b");
    stream.send(Cluster, &clusters.nonce, &[], false);
    let routes = stream.pull().expect("routes");
    assert_eq!(world(&routes), "RDS r");
    assert!(stream.pull().is_none());
    stream.send(Route, &routes.nonce, &["r"], false);
    assert_eq!(stream.drain(&["b"]), ["CDS b"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_takes_new_names_with_the_answer() {
    let mut stream = Worlds::new(mesh(1, &[("a", 1), ("b", 1)]));
    stream.send(Endpoint, "", &["a"], false);
    let first = stream.pull().expect("endpoints");
    stream.send(Endpoint, &first.nonce, &["a", "b"], false);
    let second = stream.pull().expect("more endpoints");
    assert_eq!(
        (world(&first), world(&second)),
        ("EDS a".into(), "EDS b".into())
    );
    // The answer to the first response comes twice: out of date.
    assert_eq!(
        stream.send(Endpoint, &first.nonce, &["a"], true),
        Receipt::None
    );
    let acked = Receipt::Acked {
        kind: Endpoint,
        revision: 1,
    };
    assert_eq!(
        stream.send(Endpoint, &second.nonce, &["a", "b"], false),
        acked
    );
    // A name that was dropped and comes back is sent again.
    stream.send(Endpoint, &second.nonce, &["a"], false);
    stream.send(Endpoint, &second.nonce, &["a", "b"], false);
    assert_eq!(world(&stream.pull().expect("b again")), "EDS b");
}

#[test]
fn sotw_does_not_repeat_what_was_rejected() {
    let mut stream = settled_world(&[("a", 1)]);
    stream.0.update(Arc::new(mesh(2, &[("a", 2)])));
    let push = stream.pull().expect("clusters");
    let receipt = stream.send(Cluster, &push.nonce, &[], true);
    assert!(matches!(
        receipt,
        Receipt::Rejected {
            kind: Cluster,
            revision: 2,
            ..
        }
    ));
    stream.drain(&["a"]);
    assert!(stream.pull().is_none() && !stream.0.is_synced());
    stream.0.update(Arc::new(mesh(3, &[("a", 3)])));
    assert_eq!(stream.drain(&["a"]), ["CDS a", "EDS a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_repeats_a_rejected_list_with_the_next_change_even_if_it_is_empty() {
    let mut stream = Worlds::new(Snapshot::default());
    stream.send(Listener, "", &[], false);
    let empty = stream.pull().expect("an empty list");
    // The client had a listener from an earlier stream, and keeps it.
    stream.send(Listener, &empty.nonce, &[], true);
    assert!(stream.pull().is_none() && !stream.0.is_synced());
    stream.0.update(Arc::new(Snapshot::builder(2).build()));
    assert_eq!(stream.drain(&[]), ["LDS"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_forgets_a_rejection_of_what_is_not_wanted_any_more() {
    let mut stream = settled_world(&[("a", 1)]);
    let edit = stream.0.snapshot().edit(2);
    let moved = Resource::encode("a", &sample::endpoints("a", &[at(99)]));
    stream.0.update(Arc::new(edit.with(moved).build()));
    let push = stream.pull().expect("endpoints");
    // A request without a nonce counts too, and takes the name away before the NACK comes.
    stream.send(Endpoint, "", &[], false);
    let receipt = stream.send(Endpoint, &push.nonce, &[], true);
    assert!(matches!(receipt, Receipt::Rejected { .. }));
    stream.drain(&[]);
    assert!(stream.0.is_synced());
}

#[test]
fn a_name_is_found_in_a_reason_only_as_a_whole() {
    for (reason, name, found) in [
        (
            "Error adding/updating listener(s) front: no such filter",
            "front",
            true,
        ),
        (
            "Error adding/updating listener(s) front: no such filter",
            "fro",
            false,
        ),
        ("unknown cluster 'a-b'", "a", false),
        ("unknown cluster 'a-b'", "a-b", true),
        ("a", "a", true),
        ("a", "", false),
        ("é", "e", false),
    ] {
        assert_eq!(mentions(reason, name), found, "{name:?} in {reason:?}");
    }
}
