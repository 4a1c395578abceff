//! The environment of the proxy's container.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};

use super::annotation;
use super::config::{InjectConfig, Sidecar, Tracing};
use super::workload::Workload;
use crate::Violation;

/// Placeholder for the address of the pod's host.
const HOST_IP: &str = "ref:status.hostIP";
/// The only variable of the controller that a pod may override.
const SAMPLING_RATE: &str = "XRAY_SAMPLING_RATE";

/// The variables that the controller sets, in a fixed order.
fn controlled(
    pod: &Pod,
    workload: &Workload,
    sidecar: &Sidecar,
    config: &InjectConfig,
) -> Result<Vec<EnvVar>, Violation> {
    let path = workload.resource_path(&config.account_id);
    let preview = config.preview || annotation::is(pod, annotation::PREVIEW, "enabled");
    let mut env = vec![
        text("APPMESH_RESOURCE_ARN", path.as_str()),
        text("APPMESH_VIRTUAL_NODE_NAME", path.as_str()),
        text("AWS_REGION", config.region.as_str()),
        text("APPMESH_PREVIEW", bit(preview)),
        text(
            "APPMESH_DUALSTACK_ENDPOINT",
            bit(config.dual_stack_endpoint),
        ),
        text("APPMESH_FIPS_ENDPOINT", bit(config.fips_endpoint)),
        text(
            "ENVOY_ADMIN_ACCESS_ENABLE_IPV6",
            config.admin_ipv6.to_string(),
        ),
        text("ENVOY_LOG_LEVEL", config.log_level.as_str()),
        text("ENVOY_ADMIN_ACCESS_PORT", config.admin_port.to_string()),
        text(
            "ENVOY_ADMIN_ACCESS_LOG_FILE",
            config.admin_log_file.as_str(),
        ),
        text(
            "APPMESH_PLATFORM_K8S_VERSION",
            config.kubernetes_version.as_str(),
        ),
        text(
            "APPMESH_PLATFORM_APP_MESH_CONTROLLER_VERSION",
            config.controller_version.as_str(),
        ),
        from_field("APPMESH_PLATFORM_K8S_POD_UID", "metadata.uid"),
        text("APPNET_AGENT_ADMIN_MODE", "uds"),
        text("APPNET_AGENT_ADMIN_UDS_PATH", "/tmp/agent.sock"),
    ];
    if let Some(endpoint) = &config.xds_endpoint {
        env.push(text("APPMESH_XDS_ENDPOINT", endpoint.as_str()));
    }
    if let Some(socket) = sds_socket(pod, config) {
        env.push(text("APPMESH_SDS_SOCKET_PATH", socket));
    }
    match &config.tracing {
        Tracing::Off => {}
        Tracing::Xray(daemon) => env.extend([
            text("ENABLE_ENVOY_XRAY_TRACING", "1"),
            text("XRAY_DAEMON_PORT", daemon.port.to_string()),
            text(SAMPLING_RATE, sampling_rate(pod, &daemon.sampling_rate)?),
        ]),
        Tracing::Jaeger { address, port } => env.extend([
            text("ENABLE_ENVOY_JAEGER_TRACING", "1"),
            text("JAEGER_TRACER_PORT", port.to_string()),
            address_or_host("JAEGER_TRACER_ADDRESS", address),
        ]),
        Tracing::Datadog { address, port } => env.extend([
            text("ENABLE_ENVOY_DATADOG_TRACING", "1"),
            text("DATADOG_TRACER_PORT", port.to_string()),
            address_or_host("DATADOG_TRACER_ADDRESS", address),
        ]),
    }
    if config.stats_tags {
        env.push(text("ENABLE_ENVOY_STATS_TAGS", "1"));
    }
    if let Some(statsd) = &config.statsd {
        env.extend([
            text("ENABLE_ENVOY_DOG_STATSD", "1"),
            text("STATSD_PORT", statsd.port.to_string()),
            address_or_host("STATSD_ADDRESS", &statsd.address),
        ]);
        if let Some(path) = &statsd.socket_path {
            env.push(text("STATSD_SOCKET_PATH", path.as_str()));
        }
    }
    let more = sidecar.env.iter().chain(&config.extra_env);
    env.extend(more.map(|(name, value)| text(name, value.as_str())));
    let fields = sidecar.env_from_fields.iter();
    env.extend(fields.map(|(name, field)| from_field(name, field)));
    Ok(env)
}

/// The controller's variables and those that the pod adds. The pod cannot override the controller's.
pub(super) fn of_sidecar(
    pod: &Pod,
    workload: &Workload,
    sidecar: &Sidecar,
    config: &InjectConfig,
) -> Result<Vec<EnvVar>, Violation> {
    let mut env = controlled(pod, workload, sidecar, config)?;
    for (name, value) in annotation::sidecar_env(pod)? {
        if !env.iter().any(|variable| variable.name == name) {
            env.push(text(&name, value));
        }
    }
    Ok(env)
}

/// The secret discovery socket that this pod's proxy uses, unless the pod opts out.
pub(super) fn sds_socket<'a>(pod: &Pod, config: &'a InjectConfig) -> Option<&'a str> {
    config
        .sds_socket
        .as_deref()
        .filter(|_| !annotation::is(pod, annotation::SDS, "disabled"))
}

pub(super) fn text(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()),
        value_from: None,
    }
}

fn from_field(name: &str, field: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector {
        api_version: None,
        field_path: field.to_owned(),
    };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(field_ref),
            ..EnvVarSource::default()
        }),
    }
}

fn address_or_host(name: &str, address: &str) -> EnvVar {
    if address == HOST_IP {
        from_field(name, "status.hostIP")
    } else {
        text(name, address)
    }
}

fn bit(on: bool) -> &'static str {
    if on { "1" } else { "0" }
}

fn sampling_rate(pod: &Pod, configured: &str) -> Result<String, Violation> {
    let own = annotation::sidecar_env(pod)?.remove(SAMPLING_RATE);
    let written = own.as_deref().unwrap_or(configured);
    match written.trim().parse::<f64>() {
        // Two decimals, and no more of them than it has.
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(((rate * 100.0).round() / 100.0).to_string()),
        _ => {
            let message = format!("{SAMPLING_RATE} {written:?} must be a number from 0 to 1");
            Err(annotation::violation(annotation::SIDECAR_ENV, message))
        }
    }
}
