//! Translates the listeners and route configurations of a gateway: one of each for every port, and one for the
//! requests that it sends back to itself. They have the names of App Mesh (facts/appmesh-api.md §7).

use super::{
    listener::{http, ingress_stat_prefix},
    protobuf::{any_address, origin, socket},
    route::{self, inbound_name, outbound_name},
};
use crate::plan::{EGRESS_PORT, Gateway, GatewayListener, Plan};
use tombolo_xds::{
    Kind, Resource,
    envoy::pb::envoy::config::{
        core::v3::{Address, TrafficDirection},
        listener::v3::{Filter, FilterChain, Listener},
    },
    snapshot::Builder,
};

pub(super) fn update(
    previous: Option<&Plan>,
    plan: &Plan,
    gateway: &Gateway,
    snapshot: &mut Builder,
) {
    let before = previous.and_then(|plan| plan.gateway.as_ref());
    let is_same = previous.is_some_and(|previous| {
        previous.access_log == plan.access_log && previous.dual_stack == plan.dual_stack
    });
    if is_same && before == Some(gateway) {
        return;
    }
    let name_of = |port| format!("lds_ingress_0.0.0.0_{port}");
    for listener in before.into_iter().flat_map(|gateway| &gateway.listeners) {
        if !gateway
            .listeners
            .iter()
            .any(|other| other.port == listener.port)
        {
            snapshot.remove(Kind::Listener, &name_of(listener.port));
            snapshot.remove(Kind::Route, &inbound_name(listener.port));
        }
    }
    let back = format!("lds_egress_127.0.0.1_{EGRESS_PORT}");
    if gateway.listeners.is_empty() {
        snapshot.remove(Kind::Listener, &back);
        snapshot.remove(Kind::Route, &outbound_name(EGRESS_PORT));
        return;
    }
    for listener in &gateway.listeners {
        let GatewayListener {
            port,
            protocol,
            routes,
        } = listener;
        let statistics = ingress_stat_prefix(gateway.listeners.len(), *protocol, *port);
        let table = inbound_name(*port);
        snapshot.insert(route::table(&table, routes));
        let filter = http(plan.access_log.as_ref(), statistics, table);
        let address = any_address(plan.dual_stack, *port);
        let direction = TrafficDirection::Inbound;
        snapshot.insert(listener_of(
            plan,
            name_of(*port),
            (address, *port),
            direction,
            filter,
        ));
    }
    // Only the gateway itself may name the service of a request: the listener is on loopback. The requests were logged
    // when they came in.
    let table = outbound_name(EGRESS_PORT);
    snapshot.insert(route::table(&table, &gateway.service_routes));
    let filter = http(None, "egress".into(), table);
    let address = (socket("127.0.0.1", EGRESS_PORT), EGRESS_PORT);
    let direction = TrafficDirection::Outbound;
    snapshot.insert(listener_of(plan, back, address, direction, filter));
}

fn listener_of(
    plan: &Plan,
    name: String,
    (address, port): (Address, u16),
    direction: TrafficDirection,
    filter: Option<Filter>,
) -> Resource {
    let message = Listener {
        name: name.clone(),
        address: Some(address),
        traffic_direction: direction.into(),
        filter_chains: vec![FilterChain {
            name: format!("port_{port}"),
            filters: filter.into_iter().collect(),
            ..Default::default()
        }],
        metadata: Some(origin(&plan.origin)),
        ..Default::default()
    };
    Resource::encode(name, &message)
}
