//! The DNS names inside clusters, by the Kubernetes DNS specification 1.1.0.
//!
//! Several clusters can use the same domain: the client's address selects the cluster. The names are compiled when they
//! change and swapped in one step, so that a query never waits for a change.

mod table;

pub use crate::range::IpNet;

use crate::{
    range::RangeMap,
    reply::Reply,
    zone::{Query, Verdict, Zone},
};
use arc_swap::ArcSwap;
use std::net::IpAddr;
use table::Table;

/// The DNS names of one cluster, and its clients.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The address ranges of its clients. If ranges of clusters overlap, the longest prefix counts.
    pub sources: Vec<IpNet>,
    /// The cluster domain, for example `cluster.local`.
    pub domain: String,
    /// Namespaces, whether they have services or not; those of services may be left out.
    pub namespaces: Vec<String>,
    /// All services, of every namespace.
    pub services: Vec<Service>,
}

/// A service in a cluster: `<name>.<namespace>.svc.<domain>`.
#[derive(Clone, Debug)]
pub struct Service {
    /// The second label of the name.
    pub namespace: String,
    /// The first label of the name.
    pub name: String,
    /// The records of the name.
    pub addresses: Addresses,
    /// Ports, for `SRV` records and `_<port>._<protocol>` names.
    pub ports: Vec<Port>,
}

/// The records of a service's name.
#[derive(Clone, Debug)]
pub enum Addresses {
    /// The service's own addresses, as `A` and `AAAA`.
    ClusterIp(Vec<IpAddr>),
    /// The addresses of its pods. Each pod also has a name under the service's.
    Headless(Vec<Endpoint>),
    /// The target of a `CNAME`.
    ExternalName(String),
}

/// A pod behind a headless service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The pod's address.
    pub address: IpAddr,
    /// The first label of the pod's name; without one, its address with dashes (`10-0-1-5`).
    pub hostname: Option<String>,
}

/// A port of a service.
#[derive(Clone, Debug)]
pub struct Port {
    /// The port's name; a port without one (`""`) has no `SRV` name of its own.
    pub name: String,
    /// `tcp`, `udp` or `sctp`, in any case.
    pub protocol: String,
    /// The port number. For a headless service, the port of the pods.
    pub port: u16,
}

/// The names of all clusters.
#[derive(Default)]
pub struct Clusters {
    views: ArcSwap<Views>,
}

#[derive(Default)]
struct Views {
    /// The index of the table of each client.
    sources: RangeMap<usize>,
    tables: Vec<Table>,
}

impl Clusters {
    /// Replaces all clusters in one step. Names that are not valid in DNS are left out and logged.
    pub fn replace(&self, clusters: &[Cluster]) {
        let sources = clusters
            .iter()
            .enumerate()
            .flat_map(|(index, cluster)| cluster.sources.iter().map(move |range| (*range, index)))
            .collect();
        self.views.store(
            Views {
                sources,
                tables: clusters.iter().map(Table::compile).collect(),
            }
            .into(),
        );
    }
}

impl Zone for Clusters {
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let views = self.views.load();
        match views.sources.get(query.from) {
            Some(index) => views.tables[*index].answer(query, reply),
            None if views
                .tables
                .iter()
                .any(|table| table.is_in_domain(&query.key)) =>
            {
                Verdict::Refused
            }
            None => Verdict::NotInZone,
        }
    }
}

#[cfg(test)]
mod tests;
