//! Clusters of App Mesh: their names, and the settings that listeners give them.

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

/// The default timeout of a request (facts/walkthroughs.md §2.2).
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The default time that a stream or connection may be idle.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The default request and idle timeouts.
pub(super) const DEFAULT_TIMEOUT: Timeout = Timeout {
    request: Some(REQUEST_TIMEOUT),
    idle: Some(IDLE_TIMEOUT),
};

const EGRESS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const INGRESS_CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// The name of an [`ingress`] cluster.
pub(super) fn ingress_name(mesh: &str, node: &str, mapping: PortMapping) -> Arc<str> {
    name("ingress", mesh, node, mapping)
}

/// The name of an [`egress`] cluster.
pub(super) fn egress_name(mesh: &str, node: &str, mapping: PortMapping) -> Arc<str> {
    name("egress", mesh, node, mapping)
}

fn name(direction: &str, mesh: &str, node: &str, mapping: PortMapping) -> Arc<str> {
    let PortMapping { port, protocol } = mapping;
    format!("cds_{direction}_{mesh}_{node}_{}_{port}", protocol.as_str()).into()
}

/// The name of a [`self_redirect`] cluster. If the gateway has several listeners, the name has the listener's port
/// (facts/appmesh-api.md §7).
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

/// A cluster without circuit breakers and health checks.
fn base(origin: &ResourceKey, discovery: Discovery, protocol: Protocol) -> Cluster {
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

/// The cluster of the application beside the proxy. The limits of the listener's connection pool apply only here.
pub(super) fn ingress(node: &ResourceKey, listener: &Listener, ipv6: bool) -> Cluster {
    let port = listener.port_mapping.port;
    let discovery = Discovery::Local { port, ipv6 };
    Cluster {
        connect_timeout: INGRESS_CONNECT_TIMEOUT,
        limits: limits(listener.connection_pool),
        ..base(node, discovery, protocol(listener.port_mapping.protocol))
    }
}

/// The cluster through which a gateway sends requests back to itself. The limits of the listener's
/// connection pool apply here.
pub(super) fn self_redirect(gateway: &ResourceKey, listener: &VirtualGatewayListener) -> Cluster {
    let (port, ipv6) = (EGRESS_PORT, false);
    let discovery = Discovery::Local { port, ipv6 };
    Cluster {
        connect_timeout: INGRESS_CONNECT_TIMEOUT,
        limits: limits(listener.connection_pool),
        ..base(gateway, discovery, protocol(listener.port_mapping.protocol))
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

/// The cluster of a node in its clients' proxies, which do the health checks and the outlier detection.
pub(super) fn egress(
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
        ..base(node, discovery, protocol(listener.port_mapping.protocol))
    }
}

pub(super) fn original_destination(node: &ResourceKey) -> Cluster {
    base(node, Discovery::OriginalDestination, Protocol::Http1)
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
            idle: timeout_or_default(t.idle, IDLE_TIMEOUT),
        },
        None => DEFAULT_TIMEOUT,
    }
}

pub(super) fn request_timeout(timeout: Option<RequestTimeout>) -> Timeout {
    let timeout = timeout.unwrap_or_default();
    Timeout {
        request: timeout_or_default(timeout.per_request, REQUEST_TIMEOUT),
        idle: timeout_or_default(timeout.idle, IDLE_TIMEOUT),
    }
}

/// The configured timeout, or the default. A configured 0 is no timeout: `None`.
pub(super) fn timeout_or_default(
    configured: Option<spec::Duration>,
    default: Duration,
) -> Option<Duration> {
    let timeout = configured.map_or(default, spec::Duration::length);
    (!timeout.is_zero()).then_some(timeout)
}
