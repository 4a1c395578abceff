//! The listeners and route tables of a gateway: one of each for each of its ports, and one for what it
//! sends back to itself. Their names are App Mesh's (facts/appmesh-api.md §7).

use super::{
    listener::{http, ingress_statistics},
    protobuf::{any_address, socket},
    route::{inbound_name, outbound_name, table},
};
use crate::plan::{EGRESS_PORT, Entrance, Gateway, Plan};
use tombolo_xds::{
    Resource,
    envoy::pb::envoy::config::{
        core::v3::{Address, TrafficDirection},
        listener::v3::{Filter, FilterChain, Listener},
    },
};

pub(super) fn resources(plan: &Plan, gateway: &Gateway) -> Vec<Resource> {
    if gateway.entrances.is_empty() {
        return Vec::new();
    }
    let mut resources = Vec::new();
    for entrance in &gateway.entrances {
        let Entrance {
            port,
            protocol,
            routes,
        } = entrance;
        let statistics = ingress_statistics(gateway.entrances.len(), *protocol, *port);
        let filter = http(plan.access_log.as_ref(), statistics, inbound_name(*port));
        let name = format!("lds_ingress_0.0.0.0_{port}");
        let direction = TrafficDirection::Inbound;
        let address = any_address(plan.dual_stack, *port);
        resources.push(listener(&name, address, *port, direction, filter));
        resources.push(table(&inbound_name(*port), routes));
    }
    // Nobody but the gateway itself may mark requests. They were logged when they came in.
    let filter = http(None, "egress".into(), outbound_name(EGRESS_PORT));
    let name = format!("lds_egress_127.0.0.1_{EGRESS_PORT}");
    let direction = TrafficDirection::Outbound;
    let address = socket("127.0.0.1", EGRESS_PORT);
    resources.push(listener(&name, address, EGRESS_PORT, direction, filter));
    resources.push(table(&outbound_name(EGRESS_PORT), &gateway.inside));
    resources
}

fn listener(
    name: &str,
    address: Address,
    port: u16,
    direction: TrafficDirection,
    filter: Option<Filter>,
) -> Resource {
    let message = Listener {
        name: name.to_owned(),
        address: Some(address),
        traffic_direction: direction.into(),
        filter_chains: vec![FilterChain {
            name: format!("port_{port}"),
            filters: filter.into_iter().collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    Resource::encode(name, &message)
}
