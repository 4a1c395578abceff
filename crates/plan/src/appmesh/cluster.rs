//! Clusters of App Mesh: their names and what is known of them from listeners.

use crate::plan::{
    AddressFamily, Cluster, Discovery, EGRESS_PORT, EndpointQuery, HealthCheck, Limits,
    OutlierDetection, Protocol, Timeout,
};
use std::{sync::Arc, time::Duration};
use tombolo_model::appmesh::{
    ResourceKey,
    spec::{
        self, PortMapping,
        listener::{ConnectionPool, ListenerTimeout, RequestTimeout},
        mesh::IpPreference,
        virtual_gateway::VirtualGatewayListener,
        virtual_node::{DnsResponseType, Listener, ServiceDiscovery},
    },
};

/// How long a request may take where nothing else is configured (facts/walkthroughs.md §2.2).
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a stream may be silent where nothing else is configured.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The default request and idle timeouts.
pub(super) const DEFAULT_TIMEOUT: Timeout = Timeout {
    request: Some(REQUEST_TIMEOUT),
    idle: Some(IDLE_TIMEOUT),
};

const EGRESS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const INGRESS_CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// The name of [`local`].
pub(super) fn ingress_name(mesh: &str, node: &str, mapping: PortMapping) -> Arc<str> {
    name("ingress", mesh, node, mapping)
}

/// The name of [`remote`].
pub(super) fn egress_name(mesh: &str, node: &str, mapping: PortMapping) -> Arc<str> {
    name("egress", mesh, node, mapping)
}

fn name(direction: &str, mesh: &str, node: &str, mapping: PortMapping) -> Arc<str> {
    let PortMapping { port, protocol } = mapping;
    format!("cds_{direction}_{mesh}_{node}_{}_{port}", protocol.as_str()).into()
}

/// The name of [`self_redirect`]; it tells the listener where there are several (facts/appmesh-api.md §7).
pub(super) fn self_redirect_name(
    mesh: &str,
    gateway: &str,
    mapping: PortMapping,
    is_only: bool,
) -> Arc<str> {
    let listener = if is_only {
        String::new()
    } else {
        format!("{}_", mapping.port)
    };
    format!(
        "cds_ingress_{mesh}_{gateway}_self_redirect_{listener}{}_{EGRESS_PORT}",
        mapping.protocol.as_str()
    )
    .into()
}

pub(super) fn protocol(protocol: spec::Protocol) -> Protocol {
    match protocol {
        spec::Protocol::Http => Protocol::Http1,
        spec::Protocol::Http2 => Protocol::Http2,
        spec::Protocol::Grpc => Protocol::Grpc,
        spec::Protocol::Tcp => Protocol::Tcp,
    }
}

/// A cluster without limits and checks.
fn plain(origin: &ResourceKey, discovery: Discovery, protocol: Protocol) -> Cluster {
    Cluster {
        origin: origin.to_string().into(),
        discovery,
        protocol,
        connect_timeout: EGRESS_CONNECT_TIMEOUT,
        limits: Limits::default(),
        health_check: None,
        outlier: None,
    }
}

/// The application beside the proxy. The limits of the listener's connection pool apply here and nowhere else.
pub(super) fn local(node: &ResourceKey, listener: &Listener, ipv6: bool) -> Cluster {
    let port = listener.port_mapping.port;
    let discovery = Discovery::Local { port, ipv6 };
    Cluster {
        connect_timeout: INGRESS_CONNECT_TIMEOUT,
        limits: limits(listener.connection_pool),
        ..plain(node, discovery, protocol(listener.port_mapping.protocol))
    }
}

/// The gateway itself, as it sends requests back to itself. The limits of the listener apply here.
pub(super) fn self_redirect(gateway: &ResourceKey, listener: &VirtualGatewayListener) -> Cluster {
    let (port, ipv6) = (EGRESS_PORT, false);
    let discovery = Discovery::Local { port, ipv6 };
    Cluster {
        connect_timeout: INGRESS_CONNECT_TIMEOUT,
        limits: limits(listener.connection_pool),
        ..plain(gateway, discovery, protocol(listener.port_mapping.protocol))
    }
}

fn limits(pool: Option<ConnectionPool>) -> Limits {
    match pool {
        Some(ConnectionPool::Http(pool)) => Limits {
            connections: Some(pool.max_connections),
            pending: pool.max_pending_requests,
            requests: None,
        },
        Some(ConnectionPool::Http2(pool) | ConnectionPool::Grpc(pool)) => Limits {
            requests: Some(pool.max_requests),
            ..Limits::default()
        },
        Some(ConnectionPool::Tcp(pool)) => Limits {
            connections: Some(pool.max_connections),
            ..Limits::default()
        },
        None => Limits::default(),
    }
}

/// A node as its clients see it. Health checks and outlier detection are the clients' work.
pub(super) fn remote(
    node: &ResourceKey,
    discovery: &ServiceDiscovery,
    listener: &Listener,
    preference: Option<IpPreference>,
) -> Cluster {
    let port = listener.port_mapping.port;
    let family = family(preference);
    let discovery = match discovery {
        ServiceDiscovery::AwsCloudMap(query) => Discovery::Registry(EndpointQuery {
            namespace: query.namespace_name.clone(),
            service: query.service_name.clone(),
            attributes: query
                .attributes
                .iter()
                .flatten()
                .map(|attribute| (attribute.key.clone(), attribute.value.clone()))
                .collect(),
            port,
            family,
        }),
        ServiceDiscovery::Dns(dns) => Discovery::Dns {
            hostname: dns.hostname.clone(),
            port,
            each_address: dns.response_type == Some(DnsResponseType::Endpoints),
            family,
        },
    };
    Cluster {
        health_check: listener.health_check.as_ref().map(|check| HealthCheck {
            protocol: protocol(check.protocol),
            path: check.path.clone().unwrap_or_else(|| "/".into()),
            interval: check.interval(),
            timeout: check.timeout(),
            healthy_threshold: check.healthy_threshold,
            unhealthy_threshold: check.unhealthy_threshold,
        }),
        outlier: listener
            .outlier_detection
            .as_ref()
            .map(|outlier| OutlierDetection {
                errors: u32::try_from(outlier.max_server_errors).unwrap_or(u32::MAX),
                interval: outlier.interval.length(),
                ejection: outlier.base_ejection_duration.length(),
                percent: outlier.max_ejection_percent,
            }),
        ..plain(node, discovery, protocol(listener.port_mapping.protocol))
    }
}

pub(super) fn original_destination(node: &ResourceKey) -> Cluster {
    plain(node, Discovery::OriginalDestination, Protocol::Http1)
}

pub(super) fn prefers_ipv6(preference: Option<IpPreference>) -> bool {
    matches!(
        preference,
        Some(IpPreference::IPv6_ONLY | IpPreference::IPv6_PREFERRED)
    )
}

fn family(preference: Option<IpPreference>) -> AddressFamily {
    match preference {
        None => AddressFamily::Any,
        Some(IpPreference::IPv4_PREFERRED) => AddressFamily::V4Preferred,
        Some(IpPreference::IPv6_PREFERRED) => AddressFamily::V6Preferred,
        Some(IpPreference::IPv4_ONLY) => AddressFamily::V4Only,
        Some(IpPreference::IPv6_ONLY) => AddressFamily::V6Only,
    }
}

pub(super) fn listener_timeout(timeout: Option<&ListenerTimeout>) -> Timeout {
    match timeout {
        Some(ListenerTimeout::Http(t) | ListenerTimeout::Http2(t) | ListenerTimeout::Grpc(t)) => {
            request_timeout(Some(*t))
        }
        Some(ListenerTimeout::Tcp(t)) => Timeout {
            request: None,
            idle: length(t.idle, IDLE_TIMEOUT),
        },
        None => DEFAULT_TIMEOUT,
    }
}

pub(super) fn request_timeout(timeout: Option<RequestTimeout>) -> Timeout {
    let timeout = timeout.unwrap_or_default();
    Timeout {
        request: length(timeout.per_request, REQUEST_TIMEOUT),
        idle: length(timeout.idle, IDLE_TIMEOUT),
    }
}

/// A given length, or the default; 0 means without limit.
pub(super) fn length(given: Option<spec::Duration>, default: Duration) -> Option<Duration> {
    let length = given.map_or(default, spec::Duration::length);
    (!length.is_zero()).then_some(length)
}
