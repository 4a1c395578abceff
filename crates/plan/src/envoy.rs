//! Translates plans to xDS resources. Only this module knows Envoy.

mod access_log;
mod cluster;
mod endpoint;
mod gateway;
mod listener;
mod protobuf;
mod route;

pub use endpoint::endpoints;

use crate::plan::Plan;
use std::sync::Arc;
use tombolo_xds::{Kind, snapshot::Builder};

/// Updates a snapshot of the resources of `previous` to those of `plan`, except for the endpoints of clusters (see
/// [`endpoints`]). Equal parts of both plans are skipped, and parts that several plans share are encoded once.
pub fn update(previous: Option<&Plan>, plan: &Plan, snapshot: &mut Builder) {
    clusters(previous, plan, snapshot);
    match (previous.map(|plan| &plan.gateway), &plan.gateway) {
        (Some(Some(_)), None) | (Some(None), Some(_)) => {
            // A workload that becomes another kind of proxy.
            for kind in [Kind::Listener, Kind::Route] {
                let names: Vec<Arc<str>> = snapshot
                    .snapshot()
                    .resources(kind)
                    .keys()
                    .cloned()
                    .collect();
                for name in names {
                    snapshot.remove(kind, &name);
                }
            }
            listeners_and_routes(None, plan, snapshot);
        }
        _ => listeners_and_routes(previous, plan, snapshot),
    }
}

fn listeners_and_routes(previous: Option<&Plan>, plan: &Plan, snapshot: &mut Builder) {
    match &plan.gateway {
        Some(gateway) => gateway::update(previous, plan, gateway, snapshot),
        None => {
            route::update(previous, plan, snapshot);
            listener::update(previous, plan, snapshot);
        }
    }
}

/// Updates the clusters: walks the sorted maps of both plans side by side.
fn clusters(previous: Option<&Plan>, plan: &Plan, snapshot: &mut Builder) {
    let mut before = previous
        .into_iter()
        .flat_map(|plan| &plan.clusters)
        .peekable();
    for (name, cluster) in &plan.clusters {
        while let Some((gone, _)) = before.next_if(|(other, _)| *other < name) {
            snapshot.remove(Kind::Cluster, gone);
        }
        let same = before
            .next_if(|(other, _)| *other == name)
            .is_some_and(|(_, other)| other == cluster);
        if !same {
            let resource = cluster.encoded(|cluster| Arc::new(cluster::resource(name, cluster)));
            snapshot.insert(resource.clone());
        }
    }
    for (gone, _) in before {
        snapshot.remove(Kind::Cluster, gone);
    }
}

#[cfg(test)]
mod tests;
