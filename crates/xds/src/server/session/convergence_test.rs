//! Convergence of a model of a state-of-the-world Envoy with the session, over a network that delivers messages
//! at random times. (For delta, the real client is tested.)

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::sotw::Sotw;
use super::test_support::sotw_response;
use super::*;
use crate::envoy::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use crate::envoy::pb::google::rpc;
use crate::random_mesh::{Mesh, for_seeds, named, versions};
use fastrand::Rng;

use Kind::{Cluster, Endpoint, Listener, Route};

/// A model of Envoy's state: the resources of each kind, and cluster warming.
#[derive(Debug, Default)]
struct Envoy {
    held: [BTreeMap<Arc<str>, Resource>; 5],
    nonces: [String; 5],
    names: [BTreeSet<String>; 5],
    /// Clusters that were added or changed and had no endpoints since.
    warming: BTreeSet<Arc<str>>,
}

impl Envoy {
    fn greet(&self) -> Vec<DiscoveryRequest> {
        vec![self.request(Cluster, None), self.request(Listener, None)]
    }

    fn request(&self, kind: Kind, error: Option<rpc::Status>) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: kind.type_url().into(),
            response_nonce: self.nonces[kind.index()].clone(),
            resource_names: self.names[kind.index()].iter().cloned().collect(),
            error_detail: error,
            ..Default::default()
        }
    }

    fn receive(&mut self, response: &DiscoveryResponse, rejects: bool) -> Vec<DiscoveryRequest> {
        let kind = Kind::from_type_url(&response.type_url).expect("a known type");
        self.nonces[kind.index()].clone_from(&response.nonce);
        if rejects {
            let error = rpc::Status {
                code: 3,
                message: "rejected at random".into(),
                details: Vec::new(),
            };
            return vec![self.request(kind, Some(error))];
        }
        let resources = response
            .resources
            .iter()
            .map(named)
            .map(|r| (r.name().clone(), r));
        let resources: BTreeMap<Arc<str>, Resource> = resources.collect();
        if kind == Cluster {
            let is_changed =
                |(name, cluster): &(&Arc<str>, &Resource)| self.held[0].get(*name) != Some(cluster);
            self.warming
                .extend(resources.iter().filter(is_changed).map(|(n, _)| n.clone()));
            self.warming.retain(|name| resources.contains_key(name));
        }
        if kind == Endpoint {
            let clusters = &self.held[Cluster.index()];
            self.warming.retain(|name| {
                !clusters[name]
                    .references()
                    .iter()
                    .any(|r| resources.contains_key(&*r.name))
            });
        }
        let held = &mut self.held[kind.index()];
        if kind.is_root() {
            *held = resources;
        } else {
            // What crossed with a change of names is not watched any more.
            let names = &self.names[kind.index()];
            held.extend(
                resources
                    .into_iter()
                    .filter(|(name, _)| names.contains(&**name)),
            );
        }
        let mut requests = vec![self.request(kind, None)];
        requests.extend(self.follow());
        requests
    }

    fn follow(&mut self) -> Vec<DiscoveryRequest> {
        let mut requests = Vec::new();
        for (root, kind) in [(Cluster, Endpoint), (Listener, Route)] {
            let roots = self.held[root.index()].values();
            let names = roots
                .flat_map(|root| root.references())
                .map(|r| r.name.to_string());
            let names: BTreeSet<String> = names.collect();
            if names != self.names[kind.index()] {
                self.held[kind.index()].retain(|name, _| names.contains(&**name));
                self.names[kind.index()] = names;
                requests.push(self.request(kind, None));
            }
        }
        requests
    }
}

struct Pair {
    envoy: Envoy,
    session: Session,
    up: VecDeque<DiscoveryRequest>,
    down: VecDeque<DiscoveryResponse>,
}

impl Pair {
    fn new(snapshot: Snapshot) -> Pair {
        let envoy = Envoy::default();
        let up = envoy.greet().into();
        let session = Session::new(Protocol::Sotw, Arc::new(snapshot));
        Pair {
            envoy,
            session,
            up,
            down: VecDeque::new(),
        }
    }

    /// Envoy keeps what it has and asks for all of it anew.
    fn reconnect(&mut self) {
        self.session = Session::new(Protocol::Sotw, self.session.snapshot().clone());
        self.down.clear();
        self.envoy.nonces = Default::default();
        self.up = self.envoy.greet().into();
        for kind in [Endpoint, Route] {
            if !self.envoy.names[kind.index()].is_empty() {
                self.up.push_back(self.envoy.request(kind, None));
            }
        }
    }

    fn deliver_up(&mut self) -> bool {
        let Some(request) = self.up.pop_front() else {
            return false;
        };
        Sotw::receive(&mut self.session, request).expect("a good request");
        true
    }

    fn push(&mut self) -> bool {
        let Some(push) = self.session.next_push() else {
            return false;
        };
        self.down.push_back(sotw_response(&push));
        true
    }

    fn deliver_down(&mut self, rejects: bool) -> bool {
        let Some(response) = self.down.pop_front() else {
            return false;
        };
        self.up.extend(self.envoy.receive(&response, rejects));
        true
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if !(self.deliver_up() | self.push() | self.deliver_down(false)) {
                return;
            }
        }
        panic!("the stream never comes to rest");
    }
}

#[test]
fn any_envoy_converges_to_the_snapshot_and_warms_every_cluster() {
    for_seeds(200, |seed| {
        let mut rng = Rng::with_seed(seed);
        let mut mesh = Mesh::default();
        mesh.change(&mut rng);
        let mut pair = Pair::new(mesh.snapshot());
        for _ in 0..200 {
            match rng.usize(..10) {
                0 => {
                    mesh.change(&mut rng);
                    pair.session.update(Arc::new(mesh.snapshot()));
                }
                1 if rng.usize(..4) == 0 => pair.reconnect(),
                2..=4 => drop(pair.deliver_up()),
                5..=7 => drop(pair.push()),
                _ => drop(pair.deliver_down(rng.usize(..8) == 0)),
            }
        }
        pair.settle();
        assert!(
            pair.session.is_sent(),
            "held back for ever: {:?}",
            pair.session
        );
        // Rejected versions are replaced, or Envoy would rightly stay behind.
        mesh.replace_all();
        pair.session.update(Arc::new(mesh.snapshot()));
        pair.settle();

        assert!(pair.session.is_synced(), "{:?}", pair.session);
        assert!(
            pair.envoy.warming.is_empty(),
            "clusters that still warm: {:?}",
            pair.envoy
        );
        for kind in [Cluster, Endpoint, Listener, Route] {
            let held = pair.envoy.held[kind.index()].values();
            let held: BTreeMap<String, String> = held
                .map(|r| (r.name().to_string(), r.version().to_string()))
                .collect();
            let mut expected = versions(&mesh.snapshot(), kind);
            if !kind.is_root() {
                expected.retain(|name, _| pair.envoy.names[kind.index()].contains(name));
            }
            assert_eq!(held, expected, "{kind}");
        }
    });
}
