//! `Cluster`: how upstream hosts are found, balanced, limited, checked and spoken to.

pub(super) mod protocol;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as proto;
use envoy_types::pb::envoy::config::core::v3 as core;

use super::endpoint::{self, Assignment};
use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::health_check::{self, HealthCheck};
use super::value::{duration, duration_or, number};
use protocol::MAX_CONCURRENT_STREAMS;

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
    /// Percent of healthy hosts below which health is ignored.
    pub(crate) panic_threshold: f64,
    pub(crate) locality_weighted: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_requests_per_connection: Option<u32>,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) http2_keepalive: Option<Http2Keepalive>,
    pub(crate) buffer_limit: Option<u32>,
    pub(crate) mark: Option<u32>,
    pub(crate) keepalive: Option<Keepalive>,
}

#[derive(Debug)]
pub(crate) enum Discovery {
    /// Endpoints come by EDS under this name.
    Eds(Arc<str>),
    Static(Arc<Assignment>),
    /// Every address of every name is an endpoint.
    StrictDns(Dns),
    /// The first address of the one name is the endpoint of new connections.
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
    pub(crate) family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4Only,
    V6Only,
    V4Preferred,
    V6Preferred,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    RoundRobin,
    LeastRequest { choices: u32 },
    Random,
}

/// Circuit-breaker ceilings at default priority; `u32::MAX` is no ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) pending: u32,
    pub(crate) requests: u32,
    pub(crate) retries: u32,
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
    /// Whatever the client spoke.
    Downstream,
}

/// PINGs over HTTP/2: how often, and how long the answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Http2Keepalive {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// Probes of the kernel's TCP. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) probes: Option<u32>,
    pub(crate) time: Option<u32>,
    pub(crate) interval: Option<u32>,
}

pub(crate) fn compile(cluster: &proto::Cluster) -> ConfigResult<Cluster> {
    reject_set!(cluster;
        transport_socket_matches, transport_socket_matcher, lb_subset_config, load_balancing_policy, filters,
        upstream_config, connection_pool_per_downstream_connection, lrs_server, use_tcp_for_dns_lookups,
        dns_resolvers, queuing_policies,
    );
    if let Some(socket) = &cluster.transport_socket {
        let raw = socket.name == "envoy.transport_sockets.raw_buffer";
        if !raw {
            return Err(ConfigError::new(
                "transport_socket",
                format!("{:?} is not supported: plaintext only", socket.name),
            ));
        }
    }
    if cluster.name.is_empty() {
        return Err(ConfigError::new("name", "is required"));
    }
    let mut compiled = Cluster {
        name: cluster.name.as_str().into(),
        discovery: discovery(cluster)?,
        connect_timeout: duration_or(
            cluster.connect_timeout.as_ref(),
            Duration::from_secs(5),
            "connect_timeout",
        )?,
        policy: policy(cluster)?,
        limits: limits(cluster.circuit_breakers.as_ref()).context("circuit_breakers")?,
        outlier: cluster
            .outlier_detection
            .as_ref()
            .map(outlier)
            .transpose()
            .context("outlier_detection")?,
        health_checks: health_checks(cluster)?,
        protocol: Protocol::Http1,
        panic_threshold: 50.0,
        locality_weighted: false,
        idle_timeout: Some(Duration::from_secs(3600)),
        max_requests_per_connection: ceiling(number(
            cluster.max_requests_per_connection.as_ref(),
            0,
        )),
        max_concurrent_streams: MAX_CONCURRENT_STREAMS,
        http2_keepalive: None,
        buffer_limit: cluster
            .per_connection_buffer_limit_bytes
            .as_ref()
            .map(|value| value.value),
        mark: cluster
            .upstream_bind_config
            .as_ref()
            .map(protocol::bind_mark)
            .transpose()
            .context("upstream_bind_config")?
            .flatten(),
        keepalive: cluster
            .upstream_connection_options
            .as_ref()
            .and_then(|options| options.tcp_keepalive.as_ref())
            .map(|keepalive| Keepalive {
                probes: keepalive.keepalive_probes.as_ref().map(|value| value.value),
                time: keepalive.keepalive_time.as_ref().map(|value| value.value),
                interval: keepalive
                    .keepalive_interval
                    .as_ref()
                    .map(|value| value.value),
            }),
    };
    if compiled.connect_timeout.is_zero() {
        return Err(ConfigError::new("connect_timeout", "must be positive"));
    }
    common_lb(cluster, &mut compiled)?;
    protocol::read(cluster, &mut compiled)?;
    Ok(compiled)
}

fn ceiling(value: u32) -> Option<u32> {
    (value != 0).then_some(value)
}

fn discovery(cluster: &proto::Cluster) -> ConfigResult<Discovery> {
    use proto::cluster::{ClusterDiscoveryType, DiscoveryType};
    let kind = match &cluster.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).map_err(|_| {
            ConfigError::new("type", format!("{kind} is not a known discovery type"))
        })?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return Err(ConfigError::new(
                "cluster_type",
                format!("{:?} is not supported", custom.name),
            ));
        }
    };
    let inline = || -> ConfigResult<Arc<Assignment>> {
        let assignment = cluster
            .load_assignment
            .as_ref()
            .map(endpoint::compile)
            .transpose()
            .context("load_assignment")?;
        Ok(Arc::new(assignment.unwrap_or_default()))
    };
    Ok(match kind {
        DiscoveryType::Eds => {
            let service = cluster
                .eds_cluster_config
                .as_ref()
                .map_or("", |eds| eds.service_name.as_str());
            Discovery::Eds(
                if service.is_empty() {
                    cluster.name.as_str()
                } else {
                    service
                }
                .into(),
            )
        }
        DiscoveryType::Static => {
            let assignment = inline()?;
            for (index, endpoint) in assignment.endpoints.iter().enumerate() {
                if endpoint.host.parse::<std::net::IpAddr>().is_err() {
                    return Err(ConfigError::new(
                        format!("load_assignment.endpoints[{index}]"),
                        format!(
                            "{:?} is not an IP address, which a STATIC cluster needs",
                            endpoint.host
                        ),
                    ));
                }
            }
            Discovery::Static(assignment)
        }
        DiscoveryType::StrictDns => Discovery::StrictDns(dns(cluster, inline()?)?),
        DiscoveryType::LogicalDns => {
            let names = inline()?;
            if names.endpoints.len() != 1 {
                return Err(ConfigError::new(
                    "load_assignment",
                    "a LOGICAL_DNS cluster has exactly one endpoint",
                ));
            }
            Discovery::LogicalDns(dns(cluster, names)?)
        }
        DiscoveryType::OriginalDst => {
            let mut port_override = None;
            if let Some(proto::cluster::LbConfig::OriginalDstLbConfig(config)) = &cluster.lb_config
            {
                reject_set!(config; use_http_header, metadata_key);
                if let Some(port) = &config.upstream_port_override {
                    let port = u16::try_from(port.value).map_err(|_| {
                        ConfigError::new(
                            "original_dst_lb_config.upstream_port_override",
                            "is not a port number",
                        )
                    })?;
                    port_override = (port != 0).then_some(port);
                }
            }
            Discovery::OriginalDst { port_override }
        }
    })
}

fn dns(cluster: &proto::Cluster, names: Arc<Assignment>) -> ConfigResult<Dns> {
    use proto::cluster::DnsLookupFamily;
    let refresh = duration_or(
        cluster.dns_refresh_rate.as_ref(),
        Duration::from_secs(5),
        "dns_refresh_rate",
    )?;
    if refresh < Duration::from_millis(1) {
        return Err(ConfigError::new(
            "dns_refresh_rate",
            "must be at least 1 ms",
        ));
    }
    let family = match DnsLookupFamily::try_from(cluster.dns_lookup_family) {
        Ok(DnsLookupFamily::Auto) => Family::V6Preferred,
        Ok(DnsLookupFamily::V4Only) => Family::V4Only,
        Ok(DnsLookupFamily::V6Only) => Family::V6Only,
        Ok(DnsLookupFamily::V4Preferred) => Family::V4Preferred,
        Ok(DnsLookupFamily::All) => Family::All,
        Err(_) => {
            return Err(ConfigError::new(
                "dns_lookup_family",
                "is not a known family",
            ));
        }
    };
    Ok(Dns {
        names,
        refresh,
        family,
    })
}

fn policy(cluster: &proto::Cluster) -> ConfigResult<Policy> {
    use proto::cluster::{LbConfig, LbPolicy};
    let original_dst = matches!(
        cluster.cluster_discovery_type,
        Some(proto::cluster::ClusterDiscoveryType::Type(kind)) if kind == proto::cluster::DiscoveryType::OriginalDst as i32
    );
    match LbPolicy::try_from(cluster.lb_policy) {
        Ok(LbPolicy::RoundRobin) => {
            if let Some(LbConfig::RoundRobinLbConfig(config)) = &cluster.lb_config {
                reject_set!(config; slow_start_config);
            }
            Ok(Policy::RoundRobin)
        }
        Ok(LbPolicy::LeastRequest) => {
            let mut choices = 2;
            if let Some(LbConfig::LeastRequestLbConfig(config)) = &cluster.lb_config {
                reject_set!(config; slow_start_config);
                choices = number(config.choice_count.as_ref(), 2).clamp(2, 64);
            }
            Ok(Policy::LeastRequest { choices })
        }
        Ok(LbPolicy::Random) => Ok(Policy::Random),
        Ok(LbPolicy::ClusterProvided) if original_dst => Ok(Policy::RoundRobin),
        Ok(other) => Err(ConfigError::new(
            "lb_policy",
            format!("{} is not supported", other.as_str_name()),
        )),
        Err(_) => Err(ConfigError::new("lb_policy", "is not a known policy")),
    }
}

fn limits(breakers: Option<&proto::CircuitBreakers>) -> ConfigResult<Limits> {
    let mut limits = Limits {
        connections: 1024,
        pending: 1024,
        requests: 1024,
        retries: 3,
    };
    let Some(breakers) = breakers else {
        return Ok(limits);
    };
    reject_set!(breakers; per_host_thresholds);
    for (index, threshold) in breakers.thresholds.iter().enumerate() {
        // Routes of high priority are refused, so thresholds for them govern nothing.
        if threshold.priority != core::RoutingPriority::Default as i32 {
            continue;
        }
        if threshold.retry_budget.is_some() {
            return Err(ConfigError::unsupported(format!(
                "thresholds[{index}].retry_budget"
            )));
        }
        let read = |value: &Option<_>, default| {
            let value = number(value.as_ref(), default);
            // Envoy users write "no limit" as the largest signed number.
            if value >= i32::MAX as u32 {
                u32::MAX
            } else {
                value
            }
        };
        limits = Limits {
            connections: read(&threshold.max_connections, 1024),
            pending: read(&threshold.max_pending_requests, 1024),
            requests: read(&threshold.max_requests, 1024),
            retries: read(&threshold.max_retries, 3),
        };
    }
    Ok(limits)
}

fn outlier(outlier: &proto::OutlierDetection) -> ConfigResult<Outlier> {
    reject_set!(outlier; split_external_local_origin_errors, monitors, detect_degraded_hosts);
    // Success-rate ejection is on by default in Envoy (from five hosts and a hundred requests each); only an
    // explicit request for it is refused, since refusing the default would refuse every outlier configuration.
    if number(outlier.enforcing_success_rate.as_ref(), 0) > 0 {
        return Err(ConfigError::new(
            "enforcing_success_rate",
            "is not supported: set it to 0 or leave it unset",
        ));
    }
    if number(outlier.enforcing_failure_percentage.as_ref(), 0) > 0 {
        return Err(ConfigError::new(
            "enforcing_failure_percentage",
            "is not supported: set it to 0 or leave it unset",
        ));
    }
    let base_ejection = duration_or(
        outlier.base_ejection_time.as_ref(),
        Duration::from_secs(30),
        "base_ejection_time",
    )?;
    let max_ejection = duration_or(
        outlier.max_ejection_time.as_ref(),
        Duration::from_secs(300),
        "max_ejection_time",
    )?;
    let interval = duration_or(
        outlier.interval.as_ref(),
        Duration::from_secs(10),
        "interval",
    )?;
    if interval.is_zero() {
        return Err(ConfigError::new("interval", "must be positive"));
    }
    Ok(Outlier {
        consecutive_5xx: number(outlier.consecutive_5xx.as_ref(), 5),
        enforcing_5xx: number(outlier.enforcing_consecutive_5xx.as_ref(), 100),
        consecutive_gateway: number(outlier.consecutive_gateway_failure.as_ref(), 5),
        enforcing_gateway: number(outlier.enforcing_consecutive_gateway_failure.as_ref(), 0),
        interval,
        base_ejection,
        max_ejection: max_ejection.max(base_ejection),
        max_ejection_percent: number(outlier.max_ejection_percent.as_ref(), 10).min(100),
    })
}

fn health_checks(cluster: &proto::Cluster) -> ConfigResult<Vec<HealthCheck>> {
    cluster
        .health_checks
        .iter()
        .enumerate()
        .map(|(index, check)| {
            health_check::compile(check).context(format!("health_checks[{index}]"))
        })
        .collect()
}

fn common_lb(cluster: &proto::Cluster, compiled: &mut Cluster) -> ConfigResult<()> {
    let Some(common) = &cluster.common_lb_config else {
        return Ok(());
    };
    if let Some(percent) = &common.healthy_panic_threshold {
        compiled.panic_threshold = percent.value;
    }
    compiled.locality_weighted = matches!(
        common.locality_config_specifier,
        Some(
            proto::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(_)
        )
    );
    Ok(())
}

/// Rejects zero, which would make a loop spin.
pub(super) fn positive(
    value: Option<&envoy_types::pb::google::protobuf::Duration>,
    field: &str,
) -> ConfigResult<Duration> {
    let value = value.ok_or_else(|| ConfigError::new(field, "is required"))?;
    let value = duration(value).context(field)?;
    if value.is_zero() {
        Err(ConfigError::new(field, "must be positive"))
    } else {
        Ok(value)
    }
}
