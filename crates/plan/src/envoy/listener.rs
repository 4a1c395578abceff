//! Translates the two listeners of a sidecar. A filter chain for each destination port handles the connections that
//! are redirected to them. They have the names of App Mesh (facts/appmesh-api.md §7).

use super::{
    access_log::logs,
    protobuf::{ads, any_address, boolean, duration, origin, pack, timeout, uint32},
    route::{self, inbound_name, outbound_name},
};
use crate::plan::{
    AccessLog, EGRESS_PORT, EgressPolicy, Handler, INGRESS_PORT, Inbound, Outbound, Plan, Protocol,
    Target,
};
use prost::Message;
use std::{net::IpAddr, time::Duration};
use tombolo_xds::{
    Kind, Resource,
    envoy::pb::{
        self,
        envoy::{
            config::{
                core::v3::{
                    CidrRange, Http1ProtocolOptions, HttpProtocolOptions, TrafficDirection,
                },
                listener::v3::{
                    self as listener, Filter, FilterChain, FilterChainMatch, ListenerFilter,
                    filter::ConfigType, listener_filter,
                },
            },
            extensions::filters::{
                http::router::v3::Router,
                listener::original_dst::v3::OriginalDst,
                network::{
                    http_connection_manager::v3::{
                        HttpConnectionManager, HttpFilter, Rds,
                        http_connection_manager::{CodecType, RouteSpecifier, UpgradeConfig},
                        http_filter,
                    },
                    tcp_proxy::v3::{
                        TcpProxy,
                        tcp_proxy::{
                            ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight,
                        },
                    },
                },
            },
        },
    },
    resource::Reference,
    snapshot::Builder,
};

pub(super) fn update(previous: Option<&Plan>, plan: &Plan, snapshot: &mut Builder) {
    let is_same = previous.is_some_and(|previous| {
        previous.access_log == plan.access_log && previous.dual_stack == plan.dual_stack
    });
    let before = previous.map_or(&[][..], |plan| &plan.inbound);
    if !is_same || before != plan.inbound {
        let name = format!("lds_ingress_0.0.0.0_{INGRESS_PORT}");
        if plan.inbound.is_empty() {
            snapshot.remove(Kind::Listener, &name);
        } else {
            snapshot.insert(ingress(plan, name));
        }
    }
    let is_same = is_same
        && previous.is_some_and(|previous| {
            previous.egress == plan.egress && same_chains(&previous.outbound, &plan.outbound)
        });
    if !is_same {
        snapshot.insert(egress(plan));
    }
}

/// Whether both have the same filter chains. The virtual hosts of a port are in its route configuration, not in its
/// chain.
fn same_chains(one: &[Outbound], two: &[Outbound]) -> bool {
    let same = |(one, two): (&Outbound, &Outbound)| {
        one.port == two.port
            && one.destinations == two.destinations
            && match (&one.handler, &two.handler) {
                (Handler::Http(_), Handler::Http(_)) => true,
                (one, two) => one == two,
            }
    };
    one.len() == two.len() && one.iter().zip(two).all(same)
}

fn ingress(plan: &Plan, name: String) -> Resource {
    let chains = plan
        .inbound
        .iter()
        .map(|inbound| inbound_chain(plan, inbound));
    let tables = plan.inbound.iter();
    let tables = tables.filter(|inbound| inbound.protocol != Protocol::Tcp);
    let tables = tables.map(|inbound| route::reference(&inbound_name(inbound.port)));
    let direction = TrafficDirection::Inbound;
    let (chains, tables) = (chains.collect(), tables.collect());
    redirect_listener(plan, name, INGRESS_PORT, direction, chains, None, tables)
}

fn egress(plan: &Plan) -> Resource {
    let chains = plan
        .outbound
        .iter()
        .map(|outbound| outbound_chain(plan, outbound));
    let default = match &plan.egress {
        EgressPolicy::Deny => None,
        EgressPolicy::PassThrough(cluster) => {
            let target = Target {
                cluster: cluster.clone(),
                weight: 1,
            };
            // Envoy's default idle timeout, an hour.
            let filter = tcp_proxy(plan, "egress", std::slice::from_ref(&target), None);
            Some(FilterChain {
                name: "passthrough".into(),
                filters: filter.into_iter().collect(),
                ..Default::default()
            })
        }
    };
    let tables = plan
        .outbound
        .iter()
        .filter_map(|outbound| match outbound.handler {
            Handler::Http(_) => Some(route::reference(&outbound_name(outbound.port))),
            Handler::Tcp(_) => None,
        });
    let name = format!("lds_egress_0.0.0.0_{EGRESS_PORT}");
    let direction = TrafficDirection::Outbound;
    let (chains, tables) = (chains.collect(), tables.collect());
    redirect_listener(plan, name, EGRESS_PORT, direction, chains, default, tables)
}

/// A listener of redirected connections, with the filter `original_dst`.
///
/// A connection that was not redirected has the listener's own address as its original destination. If it were passed
/// on, the proxy would connect to itself, again and again until no file descriptor is left. So the first chains match
/// the ports of both listeners and close the connection.
fn redirect_listener(
    plan: &Plan,
    name: String,
    port: u16,
    direction: TrafficDirection,
    chains: Vec<FilterChain>,
    default_filter_chain: Option<FilterChain>,
    tables: Vec<Reference>,
) -> Resource {
    let own = [INGRESS_PORT, EGRESS_PORT].map(|port| chain(port, &[], None));
    let message = listener::Listener {
        name: name.clone(),
        address: Some(any_address(plan.dual_stack, port)),
        traffic_direction: direction.into(),
        listener_filters: vec![ListenerFilter {
            name: "envoy.filters.listener.original_dst".into(),
            config_type: Some(listener_filter::ConfigType::TypedConfig(pack(
                &OriginalDst {},
            ))),
            ..Default::default()
        }],
        filter_chains: own.into_iter().chain(chains).collect(),
        default_filter_chain,
        metadata: Some(origin(&plan.origin)),
        ..Default::default()
    };
    Resource::assemble(Kind::Listener, name, &message.encode_to_vec(), &[], tables)
}

fn inbound_chain(plan: &Plan, inbound: &Inbound) -> FilterChain {
    let filter = match inbound.protocol {
        Protocol::Tcp => {
            let target = Target {
                cluster: inbound.cluster.clone(),
                weight: 1,
            };
            tcp_proxy(
                plan,
                "ingress",
                std::slice::from_ref(&target),
                timeout(inbound.timeout.idle),
            )
        }
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => http(
            plan.access_log.as_ref(),
            ingress_stat_prefix(plan.inbound.len(), inbound.protocol, inbound.port),
            inbound_name(inbound.port),
        ),
    };
    chain(inbound.port, &[], filter)
}

fn outbound_chain(plan: &Plan, outbound: &Outbound) -> FilterChain {
    let filter = match &outbound.handler {
        Handler::Http(_) => http(
            plan.access_log.as_ref(),
            "egress".into(),
            outbound_name(outbound.port),
        ),
        Handler::Tcp(route) => tcp_proxy(plan, "egress", &route.targets, timeout(route.idle)),
    };
    let mut chain = chain(outbound.port, &outbound.destinations, filter);
    if let Handler::Tcp(route) = &outbound.handler {
        chain.metadata = Some(origin(&route.origin));
        if !outbound.destinations.is_empty() {
            chain.name = format!("{}_{}", chain.name, route.name);
        }
    }
    chain
}

fn chain(port: u16, destinations: &[IpAddr], filter: Option<Filter>) -> FilterChain {
    let ranges = destinations.iter().map(|address| CidrRange {
        address_prefix: address.to_string(),
        prefix_len: uint32(if address.is_ipv4() { 32 } else { 128 }),
    });
    FilterChain {
        name: format!("port_{port}"),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: uint32(port.into()),
            prefix_ranges: ranges.collect(),
            ..Default::default()
        }),
        filters: filter.into_iter().collect(),
        ..Default::default()
    }
}

/// The `stat_prefix` of an inbound port. It has the protocol and the port if the proxy has several `ports`.
pub(super) fn ingress_stat_prefix(ports: usize, protocol: Protocol, port: u16) -> String {
    match ports {
        1 => "ingress".to_owned(),
        _ => format!("ingress.{}.{port}", stat_name(protocol)),
    }
}

fn stat_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "http",
        Protocol::Http2 => "http2",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
    }
}

pub(super) fn http(
    access_log: Option<&AccessLog>,
    stat_prefix: String,
    route_config_name: String,
) -> Option<Filter> {
    let message = HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix,
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name,
        })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".into(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(
                &Router::default(),
            ))),
            ..Default::default()
        }],
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(Duration::from_secs(3600))),
            ..Default::default()
        }),
        http_protocol_options: Some(Http1ProtocolOptions {
            accept_http_10: true,
            ..Default::default()
        }),
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "websocket".into(),
            ..Default::default()
        }],
        access_log: logs(access_log),
        normalize_path: boolean(true),
        merge_slashes: true,
        ..Default::default()
    };
    Some(Filter {
        name: "envoy.filters.network.http_connection_manager".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&message))),
    })
}

/// The filter `tcp_proxy`; `None` if there is no target: a chain without filters closes the connection.
fn tcp_proxy(
    plan: &Plan,
    stat_prefix: &str,
    targets: &[Target],
    idle_timeout: Option<pb::google::protobuf::Duration>,
) -> Option<Filter> {
    let to = match targets {
        [] => return None,
        [target] => ClusterSpecifier::Cluster(target.cluster.to_string()),
        targets => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: targets
                .iter()
                // Envoy wants weights of at least 1 here; a target of weight 0 gets nothing anyway.
                .filter(|target| target.weight > 0)
                .map(|target| ClusterWeight {
                    name: target.cluster.to_string(),
                    weight: target.weight,
                    ..Default::default()
                })
                .collect(),
        }),
    };
    let message = TcpProxy {
        stat_prefix: stat_prefix.to_owned(),
        cluster_specifier: Some(to),
        idle_timeout,
        access_log: logs(plan.access_log.as_ref()),
        ..Default::default()
    };
    Some(Filter {
        name: "envoy.filters.network.tcp_proxy".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&message))),
    })
}
