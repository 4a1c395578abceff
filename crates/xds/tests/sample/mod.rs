//! Builders for small, valid Envoy resources. Shared by the unit and integration tests.

#![allow(dead_code, reason = "each test target uses its own part")]

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, Listener, filter::ConfigType,
};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier,
    http_filter::ConfigType as HttpConfig,
};
use envoy_types::pb::google::protobuf::{Any, Duration};
use prost::{Message, Name};

pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

pub(crate) fn aggregated() -> ConfigSource {
    ConfigSource {
        // Wait for ever, so that a test notices what is not sent.
        initial_fetch_timeout: Some(Duration::default()),
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

pub(crate) fn address(at: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: at.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(at.port().into())),
        ..Default::default()
    };
    Address {
        address: Some(AddressKind::SocketAddress(socket)),
    }
}

/// An EDS cluster; `timeout_ms` serves to make versions of it.
pub(crate) fn cluster(name: &str, service: &str, timeout_ms: u32) -> Cluster {
    let eds = DiscoveryType::Eds as i32;
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(eds)),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(aggregated()),
            service_name: service.to_owned(),
        }),
        connect_timeout: Some(Duration {
            seconds: (timeout_ms / 1000).into(),
            nanos: (timeout_ms % 1000 * 1_000_000) as i32,
        }),
        ..Default::default()
    }
}

pub(crate) fn endpoints(service: &str, at: &[SocketAddr]) -> ClusterLoadAssignment {
    let endpoint = |at: &SocketAddr| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(address(*at)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let lb_endpoints = at.iter().map(endpoint).collect();
    ClusterLoadAssignment {
        cluster_name: service.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// An HTTP listener that takes its routes over the same stream; `stat` serves to make
/// versions of it.
pub(crate) fn listener(name: &str, at: SocketAddr, routes: &str, stat: &str) -> Listener {
    let manager = HttpConnectionManager {
        stat_prefix: stat.to_owned(),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(HttpConfig::TypedConfig(any(&Router::default()))),
            ..Default::default()
        }],
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(aggregated()),
            route_config_name: routes.to_owned(),
        })),
        ..Default::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&manager))),
    };
    Listener {
        name: name.to_owned(),
        address: Some(address(at)),
        filter_chains: vec![FilterChain {
            filters: vec![filter],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A listener that no proxy can adopt: its filter does not exist.
pub(crate) fn broken_listener(name: &str, at: SocketAddr) -> Listener {
    let mut listener = listener(name, at, "unused", "broken");
    let bogus = Any {
        type_url: "type.googleapis.com/no.such.Filter".into(),
        value: Vec::new(),
    };
    listener.filter_chains[0].filters[0] = Filter {
        name: "no.such.filter".into(),
        config_type: Some(ConfigType::TypedConfig(bogus)),
    };
    listener
}

/// Everything to one cluster, on every host.
pub(crate) fn routes(name: &str, cluster: &str) -> RouteConfiguration {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(Action::Route(action)),
        ..Default::default()
    };
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![route],
            ..Default::default()
        }],
        ..Default::default()
    }
}
