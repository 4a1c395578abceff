//! Short constructors of Envoy resources.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
pub use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;
use envoy_types::pb::envoy::r#type::matcher::v3 as text;
use envoy_types::pb::google::protobuf::{self, Any, BoolValue, UInt32Value};
use prost::{Message, Name};
use tombolo_xds::Resource;

pub fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

pub fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

pub fn duration(duration: Duration) -> Option<protobuf::Duration> {
    Some(protobuf::Duration {
        seconds: duration.as_secs() as i64,
        nanos: duration.subsec_nanos() as i32,
    })
}

pub fn millis(millis: u64) -> Option<protobuf::Duration> {
    duration(Duration::from_millis(millis))
}

pub fn address(address: SocketAddr) -> core::Address {
    host_and_port(&address.ip().to_string(), address.port())
}

fn host_and_port(host: &str, port: u16) -> core::Address {
    let port = core::socket_address::PortSpecifier::PortValue(port.into());
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(port),
            ..Default::default()
        })),
    }
}

pub fn exact(value: &str) -> text::StringMatcher {
    text::StringMatcher {
        match_pattern: Some(text::string_matcher::MatchPattern::Exact(value.to_owned())),
        ..Default::default()
    }
}

pub fn add(name: &str, value: &str) -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn prefix(prefix: &str) -> route::RouteMatch {
    route::RouteMatch {
        path_specifier: Some(route::route_match::PathSpecifier::Prefix(prefix.to_owned())),
        ..Default::default()
    }
}

pub fn path(path: &str) -> route::RouteMatch {
    route::RouteMatch {
        path_specifier: Some(route::route_match::PathSpecifier::Path(path.to_owned())),
        ..Default::default()
    }
}

pub fn to_cluster(name: &str) -> route::RouteAction {
    route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(
            name.to_owned(),
        )),
        ..Default::default()
    }
}

pub fn to_weighted(choices: &[(&str, u32)]) -> route::RouteAction {
    let clusters = choices
        .iter()
        .map(|(name, weight)| route::weighted_cluster::ClusterWeight {
            name: (*name).to_owned(),
            weight: number(*weight),
            ..Default::default()
        })
        .collect();
    route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::WeightedClusters(
            route::WeightedCluster {
                clusters,
                ..Default::default()
            },
        )),
        ..Default::default()
    }
}

pub fn forward(matches: route::RouteMatch, action: route::RouteAction) -> route::Route {
    route::Route {
        r#match: Some(matches),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    }
}

pub fn host(name: &str, domains: &[&str], routes: Vec<route::Route>) -> route::VirtualHost {
    route::VirtualHost {
        name: name.to_owned(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        routes,
        ..Default::default()
    }
}

pub fn table(name: &str, virtual_hosts: Vec<route::VirtualHost>) -> route::RouteConfiguration {
    route::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        ..Default::default()
    }
}

/// One virtual host for every domain.
pub fn routes(routes: Vec<route::Route>) -> route::RouteConfiguration {
    table("routes", vec![host("all", &["*"], routes)])
}

pub fn manager(table: route::RouteConfiguration) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        stat_prefix: "ingress".to_owned(),
        http_filters: vec![hcm::HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(
                &Router::default(),
            ))),
            ..Default::default()
        }],
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(
            table,
        )),
        ..Default::default()
    }
}

pub fn named_routes(manager: hcm::HttpConnectionManager, name: &str) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(
            hcm::Rds {
                route_config_name: name.to_owned(),
                config_source: Some(ads()),
            },
        )),
        ..manager
    }
}

pub fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource::default(),
        )),
        ..Default::default()
    }
}

pub fn http_filter(manager: &hcm::HttpConnectionManager) -> listener::Filter {
    listener::Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(any(manager))),
    }
}

pub fn tcp_filter(to: &str) -> listener::Filter {
    let proxy = tcp::TcpProxy {
        stat_prefix: "raw".to_owned(),
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(to.to_owned())),
        ..Default::default()
    };
    listener::Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(any(&proxy))),
    }
}

/// The listener `ingress` with one filter chain.
pub fn ingress(port: u16, filter: listener::Filter) -> listener::Listener {
    listener::Listener {
        name: "ingress".to_owned(),
        address: Some(address(SocketAddr::from(([127, 0, 0, 1], port)))),
        filter_chains: vec![listener::FilterChain {
            filters: vec![filter],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The listener `ingress` with one HTTP chain, on a free port.
pub fn http_ingress(manager: &hcm::HttpConnectionManager) -> listener::Listener {
    ingress(0, http_filter(manager))
}

/// A filter chain for connections with one of these properties.
pub fn matching(
    chain: &listener::FilterChain,
    matches: listener::FilterChainMatch,
) -> listener::FilterChain {
    listener::FilterChain {
        filter_chain_match: Some(matches),
        ..chain.clone()
    }
}

pub fn endpoints(name: &str, hosts: &[SocketAddr]) -> endpoint::ClusterLoadAssignment {
    let lb_endpoints = hosts
        .iter()
        .map(|host| named_endpoint(&host.ip().to_string(), host.port()))
        .collect();
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            lb_endpoints,
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub fn named_endpoint(host: &str, port: u16) -> endpoint::LbEndpoint {
    let endpoint = endpoint::Endpoint {
        address: Some(host_and_port(host, port)),
        ..Default::default()
    };
    endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint)),
        ..Default::default()
    }
}

pub fn static_cluster(name: &str, hosts: &[SocketAddr]) -> cluster::Cluster {
    cluster::Cluster {
        name: name.to_owned(),
        connect_timeout: millis(1000),
        load_assignment: Some(endpoints(name, hosts)),
        ..Default::default()
    }
}

pub fn eds_cluster(name: &str) -> cluster::Cluster {
    cluster::Cluster {
        name: name.to_owned(),
        connect_timeout: millis(1000),
        cluster_discovery_type: discovery(cluster::cluster::DiscoveryType::Eds),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: String::new(),
        }),
        ..Default::default()
    }
}

/// Circuit breakers with these thresholds.
pub fn breakers(thresholds: Thresholds) -> Option<cluster::CircuitBreakers> {
    Some(cluster::CircuitBreakers {
        thresholds: vec![thresholds],
        ..Default::default()
    })
}

pub fn discovery(
    kind: cluster::cluster::DiscoveryType,
) -> Option<cluster::cluster::ClusterDiscoveryType> {
    Some(cluster::cluster::ClusterDiscoveryType::Type(kind as i32))
}

/// An `ORIGINAL_DST` cluster.
pub fn passthrough(name: &str) -> cluster::Cluster {
    cluster::Cluster {
        name: name.to_owned(),
        lb_policy: cluster::cluster::LbPolicy::ClusterProvided as i32,
        cluster_discovery_type: discovery(cluster::cluster::DiscoveryType::OriginalDst),
        ..Default::default()
    }
}

/// A cluster with TLS, which the proxy does not support.
pub fn with_tls(cluster: cluster::Cluster) -> cluster::Cluster {
    cluster::Cluster {
        transport_socket: Some(core::TransportSocket {
            name: "envoy.transport_sockets.tls".to_owned(),
            ..Default::default()
        }),
        ..cluster
    }
}

/// A manager that lets WebSocket through.
pub fn with_websocket(manager: hcm::HttpConnectionManager) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        upgrade_configs: vec![hcm::http_connection_manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        ..manager
    }
}

/// App Mesh's default: two retries on 503, connection failure and refused streams.
pub fn retries(on: &str, times: u32) -> route::RetryPolicy {
    route::RetryPolicy {
        retry_on: on.to_owned(),
        num_retries: number(times),
        retriable_status_codes: vec![503],
        ..Default::default()
    }
}

pub fn resource_set(listener: &listener::Listener, clusters: &[cluster::Cluster]) -> Vec<Resource> {
    let mut set = vec![Resource::encode(listener.name.as_str(), listener)];
    set.extend(
        clusters
            .iter()
            .map(|cluster| Resource::encode(cluster.name.as_str(), cluster)),
    );
    set
}

/// A cluster of hosts that speak HTTP/2.
pub fn http2_cluster(name: &str, address: SocketAddr) -> cluster::Cluster {
    use upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;
    use upstream_http::http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions};
    let options = upstream_http::HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(
            ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(
                    core::Http2ProtocolOptions::default(),
                )),
            },
        )),
        ..Default::default()
    };
    cluster::Cluster {
        typed_extension_protocol_options: [(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any(&options),
        )]
        .into(),
        ..static_cluster(name, &[address])
    }
}

/// A table with one route to one cluster.
pub fn everything_to(name: &str) -> route::RouteConfiguration {
    routes(vec![forward(prefix("/"), to_cluster(name))])
}

/// The HTTP options of the planner (`plan/envoy/listener.rs`).
pub fn planned(manager: hcm::HttpConnectionManager) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager {
        http_protocol_options: Some(core::Http1ProtocolOptions {
            accept_http_10: true,
            ..Default::default()
        }),
        normalize_path: yes(),
        merge_slashes: true,
        ..with_websocket(manager)
    }
}
