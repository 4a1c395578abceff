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
use tombolo_xds::Resource;

/// The resources of a plan, without the endpoints of its clusters (see [`endpoints`]).
pub fn resources(plan: &Plan) -> Vec<Resource> {
    let mut resources: Vec<Resource> = plan
        .clusters
        .iter()
        .map(|(name, cluster)| cluster::resource(name, cluster))
        .collect();
    match &plan.gateway {
        Some(gateway) => resources.extend(gateway::resources(plan, gateway)),
        None => {
            resources.extend(route::resources(plan));
            resources.extend(listener::resources(plan));
        }
    }
    resources
}

#[cfg(test)]
mod tests;
