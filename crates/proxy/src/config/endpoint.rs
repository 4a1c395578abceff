//! `ClusterLoadAssignment`: the endpoints of a cluster, with priority, weight and health.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as proto;

use super::address::host_port;
use super::error::{ConfigError, ConfigResult, ErrorContext, ensure, reject_set};
use super::field::{Wrapped, field};

/// Endpoints of one cluster, in the order of declaration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) endpoints: Vec<Endpoint>,
    /// `overprovisioning_factor` in percent: the factor by which a priority may exceed its share of health before
    /// traffic spills over.
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
    /// Zero when the locality has no weight.
    pub(crate) locality_weight: u32,
    pub(crate) health: Health,
    pub(crate) health_check_port: Option<u16>,
    pub(crate) health_check_hostname: Arc<str>,
    pub(crate) health_checked: bool,
}

/// Health according to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    Degraded,
    /// Unhealthy, timed out or draining: only used in panic.
    Unhealthy,
}

pub(crate) fn compile(assignment: &proto::ClusterLoadAssignment) -> ConfigResult<Assignment> {
    let mut compiled = Assignment::default();
    if let Some(policy) = &assignment.policy {
        reject_set!(policy; drop_overloads, weighted_priority_health);
        compiled.overprovisioning = policy
            .overprovisioning_factor
            .value_or(compiled.overprovisioning);
        ensure(
            compiled.overprovisioning > 0,
            "policy.overprovisioning_factor",
            "must be positive",
        )?;
    }
    let mut number = 0;
    let localities = field!(assignment.endpoints).each(|locality| {
        reject_set!(locality; lb_config);
        ensure(locality.priority <= 128, "priority", "must be at most 128")?;
        let endpoints =
            field!(locality.lb_endpoints).each(|entry| endpoint(number, locality, entry));
        number += 1;
        endpoints
    })?;
    compiled.endpoints = localities.into_iter().flatten().collect();
    Ok(compiled)
}

/// Compiles an endpoint of the locality with this index.
fn endpoint(
    number: u32,
    locality: &proto::LocalityLbEndpoints,
    entry: &proto::LbEndpoint,
) -> ConfigResult<Endpoint> {
    use core::HealthStatus as Status;
    let Some(proto::lb_endpoint::HostIdentifier::Endpoint(endpoint)) = &entry.host_identifier
    else {
        return Err(ConfigError::new(
            "endpoint",
            "is required; endpoint_name is not supported",
        ));
    };
    reject_set!(endpoint; additional_addresses);
    let (host, port) = host_port(endpoint.address.as_ref()).context("endpoint")?;
    let check = endpoint.health_check_config.clone().unwrap_or_default();
    reject_set!(check; address);
    let health_check_port = field!(check.port_value)
        .port()
        .context("endpoint.health_check_config")?;
    let health = match field!(entry.health_status).variant("health status")? {
        Status::Unknown | Status::Healthy => Health::Healthy,
        Status::Degraded => Health::Degraded,
        Status::Unhealthy | Status::Draining | Status::Timeout => Health::Unhealthy,
    };
    let weight = entry.load_balancing_weight.value_or(1);
    ensure(weight > 0, "load_balancing_weight", "must be at least 1")?;
    Ok(Endpoint {
        host: host.into(),
        port,
        hostname: endpoint.hostname.as_str().into(),
        weight,
        priority: locality.priority,
        locality: number,
        locality_weight: locality.load_balancing_weight.value_or(0),
        health,
        health_check_port,
        health_check_hostname: check.hostname.into(),
        health_checked: !check.disable_active_health_check,
    })
}
