//! The two listeners of a sidecar: what is redirected to them is told apart by the port that it was
//! going to. Their names are App Mesh's (facts/appmesh-api.md §7).

use super::{
    access_log::logs,
    protobuf::{ads, any_address, duration, limit, number, pack, yes},
    route::{inbound_name, outbound_name},
};
use crate::plan::{
    AccessLog, EGRESS_PORT, Handler, INGRESS_PORT, Inbound, Outbound, Plan, Protocol, Target,
    UnknownDestination,
};
use std::time::Duration;
use tombolo_xds::{
    Resource,
    envoy::pb::{
        self,
        envoy::{
            config::{
                core::v3::{Http1ProtocolOptions, HttpProtocolOptions, TrafficDirection},
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
};

pub(super) fn resources(plan: &Plan) -> Vec<Resource> {
    let mut listeners = Vec::new();
    if !plan.inbound.is_empty() {
        let chains = plan
            .inbound
            .iter()
            .map(|inbound| inbound_chain(plan, inbound))
            .collect();
        let name = format!("lds_ingress_0.0.0.0_{INGRESS_PORT}");
        let direction = TrafficDirection::Inbound;
        listeners.push(redirected(
            plan,
            &name,
            INGRESS_PORT,
            direction,
            chains,
            None,
        ));
    }
    let chains = plan
        .outbound
        .iter()
        .map(|outbound| outbound_chain(plan, outbound))
        .collect();
    let default = match &plan.unknown {
        UnknownDestination::Refuse => None,
        UnknownDestination::PassThrough(cluster) => {
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
    let name = format!("lds_egress_0.0.0.0_{EGRESS_PORT}");
    let direction = TrafficDirection::Outbound;
    listeners.push(redirected(
        plan,
        &name,
        EGRESS_PORT,
        direction,
        chains,
        default,
    ));
    listeners
}

/// A connection that was not redirected has the listener's own address as its original destination. Passing
/// it on would make the proxy connect to itself, and each such connection make the next one, until no
/// descriptor is left. So the ports of both listeners come first, with chains that close whatever they are given.
fn redirected(
    plan: &Plan,
    name: &str,
    port: u16,
    direction: TrafficDirection,
    chains: Vec<FilterChain>,
    default_filter_chain: Option<FilterChain>,
) -> Resource {
    let own = [INGRESS_PORT, EGRESS_PORT].map(|port| chain(port, None));
    let message = listener::Listener {
        name: name.to_owned(),
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
        ..Default::default()
    };
    Resource::encode(name, &message)
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
                limit(inbound.timeout.idle),
            )
        }
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => http(
            plan.access_log.as_ref(),
            ingress_statistics(plan.inbound.len(), inbound.protocol, inbound.port),
            inbound_name(inbound.port),
        ),
    };
    chain(inbound.port, filter)
}

fn outbound_chain(plan: &Plan, outbound: &Outbound) -> FilterChain {
    let filter = match &outbound.handler {
        Handler::Http(_) => http(
            plan.access_log.as_ref(),
            "egress".into(),
            outbound_name(outbound.port),
        ),
        Handler::Tcp(route) => tcp_proxy(plan, "egress", &route.targets, limit(route.idle)),
    };
    chain(outbound.port, filter)
}

fn chain(port: u16, filter: Option<Filter>) -> FilterChain {
    FilterChain {
        name: format!("port_{port}"),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: number(port.into()),
            ..Default::default()
        }),
        filters: filter.into_iter().collect(),
        ..Default::default()
    }
}

/// What the counters of a port that lets traffic in begin with.
pub(super) fn ingress_statistics(ports: usize, protocol: Protocol, port: u16) -> String {
    match ports {
        1 => "ingress".to_owned(),
        _ => format!("ingress.{}.{port}", word(protocol)),
    }
}

fn word(protocol: Protocol) -> &'static str {
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
        normalize_path: yes(),
        merge_slashes: true,
        ..Default::default()
    };
    Some(Filter {
        name: "envoy.filters.network.http_connection_manager".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&message))),
    })
}

/// `None` when there is nobody to send to: a chain without filters closes the connection.
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
