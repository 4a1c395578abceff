//! `ClusterLoadAssignment`: which endpoints a cluster has, with priority, weight and health.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as proto;

use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::value::{host_port, number};

/// Endpoints of one cluster, in the order in which they were declared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Percent; how many times its share of health a priority may carry before traffic spills over.
    pub(crate) overprovisioning: u32,
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            overprovisioning: 140,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Endpoint {
    /// An IP address, or a DNS name in DNS clusters.
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    /// The name for `auto_host_rewrite`; empty when none was given.
    pub(crate) hostname: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) locality: u32,
    /// Zero when the locality has none.
    pub(crate) locality_weight: u32,
    pub(crate) health: Health,
    pub(crate) health_check_port: Option<u16>,
    pub(crate) health_check_hostname: Arc<str>,
    pub(crate) health_checked: bool,
}

/// Health as the control plane states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    Degraded,
    /// Unhealthy, timed out or draining: used in panic only.
    Unhealthy,
}

pub(crate) fn compile(assignment: &proto::ClusterLoadAssignment) -> ConfigResult<Assignment> {
    let mut overprovisioning = 140;
    if let Some(policy) = &assignment.policy {
        reject_set!(policy; drop_overloads, weighted_priority_health);
        overprovisioning = number(policy.overprovisioning_factor.as_ref(), 140);
        if overprovisioning == 0 {
            return Err(ConfigError::new(
                "policy.overprovisioning_factor",
                "must be positive",
            ));
        }
    }
    let mut endpoints = Vec::new();
    for (index, locality) in assignment.endpoints.iter().enumerate() {
        compile_locality(index, locality, &mut endpoints).context(format!("endpoints[{index}]"))?;
    }
    Ok(Assignment {
        endpoints,
        overprovisioning,
    })
}

fn compile_locality(
    index: usize,
    locality: &proto::LocalityLbEndpoints,
    out: &mut Vec<Endpoint>,
) -> ConfigResult<()> {
    reject_set!(locality; lb_config);
    if locality.priority > 128 {
        return Err(ConfigError::new("priority", "must be at most 128"));
    }
    for (position, endpoint) in locality.lb_endpoints.iter().enumerate() {
        let compiled = compile_endpoint(index, locality, endpoint)
            .context(format!("lb_endpoints[{position}]"))?;
        out.push(compiled);
    }
    Ok(())
}

fn compile_endpoint(
    index: usize,
    locality: &proto::LocalityLbEndpoints,
    entry: &proto::LbEndpoint,
) -> ConfigResult<Endpoint> {
    let Some(proto::lb_endpoint::HostIdentifier::Endpoint(endpoint)) =
        entry.host_identifier.as_ref()
    else {
        return Err(ConfigError::new(
            "endpoint",
            "is required; endpoint_name is not supported",
        ));
    };
    reject_set!(endpoint; additional_addresses);
    let (host, port) = host_port(endpoint.address.as_ref()).context("endpoint")?;
    let check = endpoint.health_check_config.as_ref();
    if let Some(check) = check {
        reject_set!(check; address);
    }
    let check_port = check.map_or(0, |check| check.port_value);
    let check_port = u16::try_from(check_port).map_err(|_| {
        ConfigError::new(
            "endpoint.health_check_config.port_value",
            "is not a port number",
        )
    })?;
    use core::HealthStatus as Status;
    let health = match Status::try_from(entry.health_status) {
        Ok(Status::Unknown | Status::Healthy) => Health::Healthy,
        Ok(Status::Degraded) => Health::Degraded,
        Ok(Status::Unhealthy | Status::Draining | Status::Timeout) => Health::Unhealthy,
        Err(_) => {
            return Err(ConfigError::new(
                "health_status",
                "is not a known health status",
            ));
        }
    };
    let weight = number(entry.load_balancing_weight.as_ref(), 1);
    if weight == 0 {
        return Err(ConfigError::new(
            "load_balancing_weight",
            "must be at least 1",
        ));
    }
    Ok(Endpoint {
        host: host.into(),
        port,
        hostname: endpoint.hostname.as_str().into(),
        weight,
        priority: locality.priority,
        locality: u32::try_from(index).unwrap_or(u32::MAX),
        locality_weight: number(locality.load_balancing_weight.as_ref(), 0),
        health,
        health_check_port: (check_port != 0).then_some(check_port),
        health_check_hostname: check.map_or("", |check| check.hostname.as_str()).into(),
        health_checked: !check.is_some_and(|check| check.disable_active_health_check),
    })
}
