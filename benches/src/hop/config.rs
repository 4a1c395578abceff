//! The configuration of the proxies that speak xDS: one listener, its routes, one cluster, one endpoint.

use crate::Result;
use prost::{Message, Name};
use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};
use tombolo_xds::{
    Node, Resource, Server, Snapshot, Status,
    envoy::pb::{
        envoy::{
            config::{
                cluster::v3::{
                    Cluster,
                    cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
                },
                core::v3::{
                    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress,
                    address::Address as AddressKind, config_source::ConfigSourceSpecifier,
                    socket_address::PortSpecifier,
                },
                endpoint::v3::{
                    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
                    lb_endpoint::HostIdentifier,
                },
                listener::v3::{Filter, FilterChain, Listener, filter::ConfigType},
                route::v3::{
                    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route::Action,
                    route_action::ClusterSpecifier, route_match::PathSpecifier,
                },
            },
            extensions::filters::{
                http::router::v3::Router,
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, Rds,
                    http_connection_manager::RouteSpecifier, http_filter::ConfigType as HttpConfig,
                },
            },
        },
        google::protobuf::{Any, Duration as ProtoDuration},
    },
    server::{Peer, Snapshots, Source},
};

/// Gives each node its snapshot.
struct Fixed(HashMap<&'static str, watch::Sender<Arc<Snapshot>>>);

impl Source for Fixed {
    async fn subscribe(&self, node: &Node, _: &Peer) -> std::result::Result<Snapshots, Status> {
        let snapshot = self.0.get(node.id.as_str());
        let unknown = || Status::not_found(format!("nobody is called {}", node.id));
        snapshot.map(watch::Sender::subscribe).ok_or_else(unknown)
    }
}

/// Serves a configuration for each node: a listener that forwards to the origin.
pub(crate) async fn serve(
    origin: SocketAddr,
    nodes: &[(&'static str, SocketAddr)],
) -> Result<SocketAddr> {
    let snapshots = nodes.iter().map(|(node, at)| {
        let snapshot = Snapshot::builder(1)
            .with(Resource::encode("hop", &listener(*at)))
            .with(Resource::encode("routes", &routes()))
            .with(Resource::encode("origin", &cluster()))
            .with(Resource::encode("origin", &endpoints(origin)))
            .build();
        (*node, watch::Sender::new(Arc::new(snapshot)))
    });
    let server = Server::new(Fixed(snapshots.collect()), Default::default());
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move { server.serve(socket, std::future::pending()).await });
    Ok(address)
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

fn address(at: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: at.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(at.port().into())),
        ..Default::default()
    };
    Address {
        address: Some(AddressKind::SocketAddress(socket)),
    }
}

fn cluster() -> Cluster {
    Cluster {
        name: "origin".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads()),
            ..Default::default()
        }),
        connect_timeout: Some(length(Duration::from_secs(1))),
        ..Default::default()
    }
}

fn length(duration: Duration) -> ProtoDuration {
    ProtoDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

fn endpoints(origin: SocketAddr) -> ClusterLoadAssignment {
    let endpoint = LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(address(origin)),
            ..Default::default()
        })),
        ..Default::default()
    };
    ClusterLoadAssignment {
        cluster_name: "origin".into(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: vec![endpoint],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn listener(at: SocketAddr) -> Listener {
    let manager = HttpConnectionManager {
        stat_prefix: "hop".into(),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".into(),
            config_type: Some(HttpConfig::TypedConfig(any(&Router::default()))),
            ..Default::default()
        }],
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: "routes".into(),
        })),
        ..Default::default()
    };
    Listener {
        name: "hop".into(),
        address: Some(address(at)),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".into(),
                config_type: Some(ConfigType::TypedConfig(any(&manager))),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn routes() -> RouteConfiguration {
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".into())),
            ..Default::default()
        }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster("origin".into())),
            ..Default::default()
        })),
        ..Default::default()
    };
    RouteConfiguration {
        name: "routes".into(),
        virtual_hosts: vec![VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            routes: vec![route],
            ..Default::default()
        }],
        ..Default::default()
    }
}
