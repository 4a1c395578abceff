//! `Cluster`: discovery, load balancing, circuit breakers, health checks and protocol of upstream hosts.

mod bind_config;
pub(super) mod http_protocol_options;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as proto;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, LbConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3 as core;

use super::endpoint::{self, Assignment};
use super::error::{ConfigError, ConfigResult, ErrorContext, ensure, reject_set};
use super::field::{Field, Wrapped, field};
use super::health_check::{self, HealthCheck};
use http_protocol_options::MAX_CONCURRENT_STREAMS;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    pub(crate) discovery: Discovery,
    pub(crate) connect_timeout: Duration,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) outlier: Option<Outlier>,
    pub(crate) health_checks: Vec<HealthCheck>,
    pub(crate) protocol: Protocol,
    /// Percentage of healthy hosts below which health is ignored (panic).
    pub(crate) panic_threshold: f64,
    pub(crate) locality_weighted: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_requests_per_connection: Option<u32>,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) http2_keepalive: Option<Http2Keepalive>,
    pub(crate) buffer_limit: Option<u32>,
    pub(crate) mark: Option<u32>,
    /// TCP keep-alive probes.
    pub(crate) keepalive: Option<core::TcpKeepalive>,
}

#[derive(Debug)]
pub(crate) enum Discovery {
    /// Endpoints come by EDS under this name.
    Eds(Arc<str>),
    Static(Arc<Assignment>),
    /// Every address of every name is an endpoint.
    StrictDns(Dns),
    /// The first address of the name is the endpoint of new connections.
    LogicalDns(Dns),
    /// The original destination of the client's connection.
    OriginalDst {
        port_override: Option<u16>,
    },
}

#[derive(Debug)]
pub(crate) struct Dns {
    pub(crate) names: Arc<Assignment>,
    pub(crate) refresh: Duration,
    pub(crate) family: DnsLookupFamily,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    RoundRobin,
    LeastRequest { choices: u32 },
    Random,
}

/// Circuit-breaker thresholds of default priority; `u32::MAX` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) pending: u32,
    pub(crate) requests: u32,
    pub(crate) retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            pending: 1024,
            requests: 1024,
            retries: 3,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outlier {
    pub(crate) consecutive_5xx: u32,
    pub(crate) enforcing_5xx: u32,
    pub(crate) consecutive_gateway: u32,
    pub(crate) enforcing_gateway: u32,
    pub(crate) interval: Duration,
    pub(crate) base_ejection: Duration,
    pub(crate) max_ejection: Duration,
    pub(crate) max_ejection_percent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// The protocol of the client's connection.
    Downstream,
}

/// HTTP/2 PINGs: their interval, and the deadline of their acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Http2Keepalive {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

pub(crate) fn compile(cluster: &proto::Cluster) -> ConfigResult<Cluster> {
    reject_set!(cluster;
        transport_socket_matches, transport_socket_matcher, lb_subset_config, load_balancing_policy, filters,
        upstream_config, connection_pool_per_downstream_connection, lrs_server, use_tcp_for_dns_lookups,
        dns_resolvers, queuing_policies,
    );
    plaintext(field!(cluster.transport_socket))?;
    field!(cluster.name).required()?;
    let common = cluster.common_lb_config.clone().unwrap_or_default();
    let connection = cluster.upstream_connection_options.as_ref();
    let mut compiled = Cluster {
        name: cluster.name.as_str().into(),
        discovery: discovery(cluster)?,
        connect_timeout: field!(cluster.connect_timeout).positive(Duration::from_secs(5))?,
        policy: policy(cluster)?,
        limits: field!(cluster.circuit_breakers)
            .compile(limits)?
            .unwrap_or_default(),
        outlier: field!(cluster.outlier_detection).compile(outlier)?,
        health_checks: field!(cluster.health_checks).each(health_check::compile)?,
        protocol: Protocol::Http1,
        panic_threshold: common
            .healthy_panic_threshold
            .map_or(50.0, |percent| percent.value),
        locality_weighted: matches!(
            common.locality_config_specifier,
            Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
        ),
        idle_timeout: Some(Duration::from_secs(3600)),
        max_requests_per_connection: nonzero(cluster.max_requests_per_connection.value_or(0)),
        max_concurrent_streams: MAX_CONCURRENT_STREAMS,
        http2_keepalive: None,
        buffer_limit: cluster.per_connection_buffer_limit_bytes.value(),
        mark: field!(cluster.upstream_bind_config)
            .compile(bind_config::bind_mark)?
            .flatten(),
        keepalive: connection.and_then(|options| options.tcp_keepalive),
    };
    http_protocol_options::compile(cluster, &mut compiled)?;
    Ok(compiled)
}

/// Rejects TLS, which this proxy does not speak.
pub(super) fn plaintext(socket: Field<'_, Option<core::TransportSocket>>) -> ConfigResult<()> {
    match socket.value {
        Some(other) if other.name != "envoy.transport_sockets.raw_buffer" => Err(ConfigError::new(
            socket.name,
            format!("{:?} is not supported: plaintext only", other.name),
        )),
        _ => Ok(()),
    }
}

/// A limit in which Envoy writes "no limit" as zero.
pub(super) fn nonzero(limit: u32) -> Option<u32> {
    (limit != 0).then_some(limit)
}

fn discovery(cluster: &proto::Cluster) -> ConfigResult<Discovery> {
    let kind = match &cluster.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).map_err(|_| {
            ConfigError::new("type", format!("{kind} is not a known discovery type"))
        })?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let reason = format!("{:?} is not supported", custom.name);
            return Err(ConfigError::new("cluster_type", reason));
        }
    };
    let inline = || -> ConfigResult<Arc<Assignment>> {
        let assignment = field!(cluster.load_assignment).compile(endpoint::compile)?;
        Ok(Arc::new(assignment.unwrap_or_default()))
    };
    Ok(match kind {
        DiscoveryType::Eds => {
            let config = cluster.eds_cluster_config.as_ref();
            let service = config
                .map(|eds| eds.service_name.as_str())
                .filter(|service| !service.is_empty());
            Discovery::Eds(service.unwrap_or(&cluster.name).into())
        }
        DiscoveryType::Static => {
            let assignment = inline()?;
            for (index, endpoint) in assignment.endpoints.iter().enumerate() {
                let host = &endpoint.host;
                ensure(
                    host.parse::<std::net::IpAddr>().is_ok(),
                    format!("load_assignment.endpoints[{index}]"),
                    format!("{host:?} is not an IP address, which a STATIC cluster needs"),
                )?;
            }
            Discovery::Static(assignment)
        }
        DiscoveryType::StrictDns => Discovery::StrictDns(dns(cluster, inline()?)?),
        DiscoveryType::LogicalDns => {
            let names = inline()?;
            let reason = "a LOGICAL_DNS cluster has exactly one endpoint";
            ensure(names.endpoints.len() == 1, "load_assignment", reason)?;
            Discovery::LogicalDns(dns(cluster, names)?)
        }
        DiscoveryType::OriginalDst => {
            let mut port_override = None;
            if let Some(LbConfig::OriginalDstLbConfig(config)) = &cluster.lb_config {
                reject_set!(config; use_http_header, metadata_key);
                port_override = field!(config.upstream_port_override)
                    .port()
                    .context("original_dst_lb_config")?
                    .filter(|port| *port != 0);
            }
            Discovery::OriginalDst { port_override }
        }
    })
}

fn dns(cluster: &proto::Cluster, names: Arc<Assignment>) -> ConfigResult<Dns> {
    let refresh = field!(cluster.dns_refresh_rate).duration(Duration::from_secs(5))?;
    ensure(
        refresh >= Duration::from_millis(1),
        "dns_refresh_rate",
        "must be at least 1 ms",
    )?;
    Ok(Dns {
        names,
        refresh,
        family: field!(cluster.dns_lookup_family).variant("family")?,
    })
}

fn policy(cluster: &proto::Cluster) -> ConfigResult<Policy> {
    let original_dst = ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into());
    match field!(cluster.lb_policy).variant("policy")? {
        LbPolicy::RoundRobin => {
            if let Some(LbConfig::RoundRobinLbConfig(config)) = &cluster.lb_config {
                reject_set!(config; slow_start_config);
            }
            Ok(Policy::RoundRobin)
        }
        LbPolicy::LeastRequest => {
            let mut choices = 2;
            if let Some(LbConfig::LeastRequestLbConfig(config)) = &cluster.lb_config {
                reject_set!(config; slow_start_config);
                choices = config.choice_count.value_or(2).clamp(2, 64);
            }
            Ok(Policy::LeastRequest { choices })
        }
        LbPolicy::Random => Ok(Policy::Random),
        LbPolicy::ClusterProvided if cluster.cluster_discovery_type == Some(original_dst) => {
            Ok(Policy::RoundRobin)
        }
        other => Err(ConfigError::new(
            "lb_policy",
            format!("{} is not supported", other.as_str_name()),
        )),
    }
}

fn limits(breakers: &proto::CircuitBreakers) -> ConfigResult<Limits> {
    reject_set!(breakers; per_host_thresholds);
    let mut limits = Limits::default();
    for (index, threshold) in breakers.thresholds.iter().enumerate() {
        // Routes of high priority are rejected, so thresholds for them have no effect.
        if threshold.priority != core::RoutingPriority::Default as i32 {
            continue;
        }
        if threshold.retry_budget.is_some() {
            let field = format!("thresholds[{index}].retry_budget");
            return Err(ConfigError::unsupported(field));
        }
        // Envoy users write "no limit" as the largest signed number.
        let read = |value: &Option<_>, default| match value.value_or(default) {
            value if value >= i32::MAX as u32 => u32::MAX,
            value => value,
        };
        let default = Limits::default();
        limits = Limits {
            connections: read(&threshold.max_connections, default.connections),
            pending: read(&threshold.max_pending_requests, default.pending),
            requests: read(&threshold.max_requests, default.requests),
            retries: read(&threshold.max_retries, default.retries),
        };
    }
    Ok(limits)
}

fn outlier(outlier: &proto::OutlierDetection) -> ConfigResult<Outlier> {
    reject_set!(outlier; split_external_local_origin_errors, monitors, detect_degraded_hosts);
    // Success-rate ejection is on by default in Envoy (from five hosts and a hundred requests each). Only an explicit
    // request for it is rejected, since rejecting the default would reject every outlier configuration.
    for enforcing in [
        field!(outlier.enforcing_success_rate),
        field!(outlier.enforcing_failure_percentage),
    ] {
        let reason = "is not supported: set it to 0 or leave it unset";
        ensure(enforcing.value.value_or(0) == 0, enforcing.name, reason)?;
    }
    let base_ejection = field!(outlier.base_ejection_time).duration(Duration::from_secs(30))?;
    let max_ejection = field!(outlier.max_ejection_time).duration(Duration::from_secs(300))?;
    Ok(Outlier {
        consecutive_5xx: outlier.consecutive_5xx.value_or(5),
        enforcing_5xx: outlier.enforcing_consecutive_5xx.value_or(100),
        consecutive_gateway: outlier.consecutive_gateway_failure.value_or(5),
        enforcing_gateway: outlier.enforcing_consecutive_gateway_failure.value_or(0),
        interval: field!(outlier.interval).positive(Duration::from_secs(10))?,
        base_ejection,
        max_ejection: max_ejection.max(base_ejection),
        max_ejection_percent: outlier.max_ejection_percent.value_or(10).min(100),
    })
}
