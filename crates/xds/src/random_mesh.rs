//! Random meshes that change at random, for the property tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fastrand::Rng;

use crate::envoy::pb::envoy::config::cluster::v3::Cluster;
use crate::envoy::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use crate::envoy::pb::envoy::config::listener::v3::Listener;
use crate::envoy::pb::envoy::config::route::v3::RouteConfiguration;
use crate::envoy::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use crate::envoy::pb::google::protobuf::Any;
use crate::{Kind, Resource, Snapshot, sample};

/// A mesh as small tables; each entry has a version that is never used twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mesh {
    revision: u64,
    versions: u32,
    /// Cluster: service, version.
    clusters: BTreeMap<String, (String, u32)>,
    endpoints: BTreeMap<String, u32>,
    /// Listener: route table, version.
    listeners: BTreeMap<String, (String, u32)>,
    routes: BTreeMap<String, u32>,
}

impl Mesh {
    /// One to four random changes.
    pub(crate) fn change(&mut self, rng: &mut Rng) {
        self.revision += 1;
        for _ in 0..=rng.usize(..4) {
            self.versions += 1;
            let version = self.versions;
            let cluster = format!("c{}", rng.usize(..5));
            let service = format!("e{}", rng.usize(..4));
            let listener = format!("l{}", rng.usize(..3));
            let routes = format!("r{}", rng.usize(..3));
            match rng.usize(..9) {
                0 | 1 => drop(self.clusters.insert(cluster, (service, version))),
                2 => drop(self.clusters.remove(&cluster)),
                3 | 4 => drop(self.endpoints.insert(service, version)),
                5 => drop(self.listeners.insert(listener, (routes, version))),
                6 => drop(self.listeners.remove(&listener)),
                7 => drop(self.routes.insert(routes, version)),
                // This may remove a resource that is still referred to: the protocol must survive a bad planner.
                _ if rng.bool() => drop(self.endpoints.remove(&service)),
                _ => drop(self.routes.remove(&routes)),
            }
        }
    }

    /// Gives every resource a new version and adds missing references, so that the next snapshot has no rejected
    /// version.
    pub(crate) fn replace_all(&mut self) {
        self.revision += 1;
        self.versions += 1;
        let version = self.versions;
        self.clusters.insert("last".into(), ("e0".into(), version));
        self.listeners.insert("last".into(), ("r0".into(), version));
        for (service, of_cluster) in self.clusters.values_mut() {
            *of_cluster = version;
            self.endpoints.entry(service.clone()).or_default();
        }
        for (routes, of_listener) in self.listeners.values_mut() {
            *of_listener = version;
            self.routes.entry(routes.clone()).or_default();
        }
        self.endpoints
            .values_mut()
            .chain(self.routes.values_mut())
            .for_each(|v| *v = version);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let port = |version: u32| SocketAddr::from(([127, 0, 0, 1], version as u16));
        let mut builder = Snapshot::builder(self.revision);
        for (name, (service, version)) in &self.clusters {
            builder.insert(Resource::encode(
                &**name,
                &sample::cluster(name, service, *version),
            ));
        }
        for (name, version) in &self.endpoints {
            builder.insert(Resource::encode(
                &**name,
                &sample::endpoints(name, &[port(*version)]),
            ));
        }
        for (name, (routes, version)) in &self.listeners {
            let listener = sample::listener(name, port(80), routes, &version.to_string());
            builder.insert(Resource::encode(&**name, &listener));
        }
        for (name, version) in &self.routes {
            let routes = sample::routes(name, &version.to_string());
            builder.insert(Resource::encode(&**name, &routes));
        }
        builder.build()
    }
}

/// Names and versions of one kind, to compare and to print.
pub(crate) fn versions(snapshot: &Snapshot, kind: Kind) -> BTreeMap<String, String> {
    let resources = snapshot.resources(kind).values();
    resources
        .map(|r| (r.name().to_string(), r.version().to_string()))
        .collect()
}

/// A resource of a state-of-the-world response. Its name is only in the message.
pub(crate) fn named(any: &Any) -> Resource {
    let kind = Kind::from_type_url(&any.type_url).expect("a known type");
    let encoded = Resource::assemble(kind, "", &any.value, &[], Vec::new());
    let name = match kind {
        Kind::Cluster => encoded.decode::<Cluster>().unwrap().name,
        Kind::Endpoint => {
            encoded
                .decode::<ClusterLoadAssignment>()
                .unwrap()
                .cluster_name
        }
        Kind::Listener => encoded.decode::<Listener>().unwrap().name,
        Kind::Route => encoded.decode::<RouteConfiguration>().unwrap().name,
        Kind::Secret => encoded.decode::<Secret>().unwrap().name,
    };
    Resource::received(kind, name, encoded.version().clone(), encoded.body())
}

/// Runs a property for many seeds; a failing one is printed, and can be run alone with
/// `TOMBOLO_SEED`.
pub(crate) fn for_seeds(count: u64, property: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let seeds = match std::env::var("TOMBOLO_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("TOMBOLO_SEED is a number");
            seed..=seed
        }
        Err(_) => 0..=count - 1,
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| property(seed)) {
            eprintln!("failed with TOMBOLO_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
