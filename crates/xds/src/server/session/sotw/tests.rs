//! State of the world, message by message.

use std::sync::Arc;

use Kind::{Cluster, Endpoint, Listener, Route};

use super::*;
use crate::envoy::pb::envoy::service::discovery::v3::DiscoveryResponse;
use crate::random_mesh::named;
use crate::server::session::test_support::{at, kind, mesh, refusal, sotw_response};
use crate::{Kind, Resource, Snapshot, sample};

/// A state-of-the-world stream under test.
struct Worlds(Session);

impl Worlds {
    fn new(snapshot: Snapshot) -> Worlds {
        Worlds(Session::new(Protocol::Sotw, Arc::new(snapshot)))
    }

    fn send(&mut self, kind: Kind, nonce: &str, names: &[&str], error: bool) -> AckOrNack {
        let request = DiscoveryRequest {
            type_url: kind.type_url().into(),
            response_nonce: nonce.into(),
            resource_names: names.iter().map(|name| name.to_string()).collect(),
            error_detail: if error { refusal() } else { None },
            ..Default::default()
        };
        Sotw::receive(&mut self.0, request).expect("a good request")
    }

    fn update(&mut self, snapshot: Snapshot) {
        self.0.update(Arc::new(snapshot));
    }

    fn next_push(&mut self) -> Option<DiscoveryResponse> {
        self.0.next_push().map(|push| sotw_response(&push))
    }

    /// All responses, acknowledged at once with these names for endpoints and `r`.
    fn drain(&mut self, endpoints: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(response) = self.next_push() {
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
    stream.update(edit.build());
    assert_eq!(stream.drain(&["a", "b"]), ["EDS b"]);
    stream.update(mesh(3, &[("a", 1), ("b", 2)]));
    assert_eq!(stream.drain(&["a", "b"]), ["CDS a b", "EDS b"]);
}

#[test]
fn sotw_sends_endpoints_again_with_their_cluster() {
    let mut stream = settled_world(&[("a", 1), ("b", 1)]);
    stream.update(mesh(2, &[("a", 2), ("b", 1)]));
    assert_eq!(stream.drain(&["a", "b"]), ["CDS a b", "EDS a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_keeps_removed_clusters_listed_until_routes_have_moved() {
    let mut stream = settled_world(&[("a", 1)]);
    stream.update(mesh(2, &[("b", 1)]));
    let clusters = stream.next_push().expect("clusters");
    assert_eq!(world(&clusters), "CDS a b");
    stream.send(Cluster, &clusters.nonce, &[], false);
    let routes = stream.next_push().expect("routes");
    assert_eq!(world(&routes), "RDS r");
    assert!(stream.next_push().is_none());
    stream.send(Route, &routes.nonce, &["r"], false);
    assert_eq!(stream.drain(&["b"]), ["CDS b"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_takes_new_names_with_the_answer() {
    let mut stream = Worlds::new(mesh(1, &[("a", 1), ("b", 1)]));
    stream.send(Endpoint, "", &["a"], false);
    let first = stream.next_push().expect("endpoints");
    stream.send(Endpoint, &first.nonce, &["a", "b"], false);
    let second = stream.next_push().expect("more endpoints");
    assert_eq!(
        (world(&first), world(&second)),
        ("EDS a".into(), "EDS b".into())
    );
    // The answer to the first response comes twice: out of date.
    assert_eq!(
        stream.send(Endpoint, &first.nonce, &["a"], true),
        AckOrNack::None
    );
    let acked = AckOrNack::Acked {
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
    assert_eq!(world(&stream.next_push().expect("b again")), "EDS b");
}

#[test]
fn sotw_does_not_repeat_what_was_rejected() {
    let mut stream = settled_world(&[("a", 1)]);
    stream.update(mesh(2, &[("a", 2)]));
    let push = stream.next_push().expect("clusters");
    let receipt = stream.send(Cluster, &push.nonce, &[], true);
    assert!(matches!(
        receipt,
        AckOrNack::Rejected {
            kind: Cluster,
            revision: 2,
            ..
        }
    ));
    stream.drain(&["a"]);
    assert!(stream.next_push().is_none() && !stream.0.is_synced());
    stream.update(mesh(3, &[("a", 3)]));
    assert_eq!(stream.drain(&["a"]), ["CDS a", "EDS a"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_repeats_a_rejected_list_with_the_next_change_even_if_it_is_empty() {
    let mut stream = Worlds::new(Snapshot::default());
    stream.send(Listener, "", &[], false);
    let empty = stream.next_push().expect("an empty list");
    // The client had a listener from an earlier stream, and keeps it.
    stream.send(Listener, &empty.nonce, &[], true);
    stream.update(Snapshot::builder(2).build());
    assert!(
        stream.next_push().is_none() && !stream.0.is_synced(),
        "nothing has changed"
    );
    stream.update(mesh(3, &[]));
    stream.update(Snapshot::builder(4).build());
    assert_eq!(stream.drain(&[]), ["LDS"]);
    assert!(stream.0.is_synced());
}

#[test]
fn sotw_forgets_a_rejection_of_what_is_not_wanted_any_more() {
    let mut stream = settled_world(&[("a", 1)]);
    let edit = stream.0.snapshot().edit(2);
    let moved = Resource::encode("a", &sample::endpoints("a", &[at(99)]));
    stream.update(edit.with(moved).build());
    let push = stream.next_push().expect("endpoints");
    // A request without a nonce counts too, and takes the name away before the NACK comes.
    stream.send(Endpoint, "", &[], false);
    let receipt = stream.send(Endpoint, &push.nonce, &[], true);
    assert!(matches!(receipt, AckOrNack::Rejected { .. }));
    stream.drain(&[]);
    assert!(stream.0.is_synced());
}
