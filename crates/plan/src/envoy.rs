//! Plans to Envoy resources: the only place that knows Envoy.

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

/// Brings the resources of a plan into a snapshot that has those of `previous`, without the endpoints of its
/// clusters (see [`endpoints`]). What is the same in both plans is not looked into, and what several plans
/// share is encoded once.
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
            front(None, plan, snapshot);
        }
        _ => front(previous, plan, snapshot),
    }
}

/// Listeners and route tables.
fn front(previous: Option<&Plan>, plan: &Plan, snapshot: &mut Builder) {
    match &plan.gateway {
        Some(gateway) => gateway::update(previous, plan, gateway, snapshot),
        None => {
            route::update(previous, plan, snapshot);
            listener::update(previous, plan, snapshot);
        }
    }
}

/// Both maps are walked side by side.
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
