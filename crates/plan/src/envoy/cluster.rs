//! Translates clusters.

use super::{
    endpoint::{assignment, host},
    protobuf::{ads, boolean, duration, origin, pack, uint32},
};
use crate::plan::{self, AddressFamily, Cluster, Discovery, HealthCheck, Protocol};
use tombolo_xds::{
    Resource,
    envoy::pb::envoy::{
        config::{
            cluster::v3::{
                self as cluster, CircuitBreakers, OutlierDetection,
                circuit_breakers::Thresholds,
                cluster::{
                    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig,
                    LbPolicy,
                },
            },
            core::v3::{
                self as core, Http1ProtocolOptions, Http2ProtocolOptions,
                health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck},
            },
        },
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{
                ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
                explicit_http_config::ProtocolConfig,
            },
        },
        r#type::v3::CodecClientType,
    },
};

/// No limit, as App Mesh configures it.
const UNLIMITED: u32 = i32::MAX as u32;

pub(super) fn resource(name: &str, plan: &Cluster) -> Resource {
    let mut message = cluster::Cluster {
        name: name.to_owned(),
        connect_timeout: Some(duration(plan.connect_timeout)),
        circuit_breakers: Some(circuit_breakers(plan)),
        health_checks: plan
            .health_check
            .iter()
            .map(|check| health_check(name, check))
            .collect(),
        outlier_detection: plan.outlier.as_ref().map(outlier),
        // An endpoint that left the registry gets no more traffic, even while its active health check succeeds.
        ignore_health_on_host_removal: true,
        metadata: Some(origin(&plan.origin)),
        ..Default::default()
    };
    if let Some(protocol) = protocol_options(plan) {
        let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
        message
            .typed_extension_protocol_options
            .insert(key, pack(&protocol));
    }
    let kind = discover(name, &plan.discovery, &mut message);
    message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
    Resource::encode(name, &message)
}

fn discover(name: &str, discovery: &Discovery, message: &mut cluster::Cluster) -> DiscoveryType {
    match discovery {
        Discovery::Registry(_) => {
            message.eds_cluster_config = Some(EdsClusterConfig {
                eds_config: Some(ads()),
                ..Default::default()
            });
            DiscoveryType::Eds
        }
        Discovery::Dns {
            hostname,
            port,
            each_address,
            family,
        } => {
            message.load_assignment = Some(assignment(name, vec![host(hostname, *port)]));
            message.dns_lookup_family = match family {
                AddressFamily::Any | AddressFamily::V6Preferred => DnsLookupFamily::Auto,
                AddressFamily::V4Preferred => DnsLookupFamily::V4Preferred,
                AddressFamily::V4Only => DnsLookupFamily::V4Only,
                AddressFamily::V6Only => DnsLookupFamily::V6Only,
            }
            .into();
            if *each_address {
                DiscoveryType::StrictDns
            } else {
                DiscoveryType::LogicalDns
            }
        }
        Discovery::Local { port, ipv6 } => {
            let address = if *ipv6 { "::1" } else { "127.0.0.1" };
            message.load_assignment = Some(assignment(name, vec![host(address, *port)]));
            DiscoveryType::Static
        }
        Discovery::OriginalDestination => {
            message.lb_policy = LbPolicy::ClusterProvided.into();
            DiscoveryType::OriginalDst
        }
    }
}

fn protocol_options(plan: &Cluster) -> Option<HttpProtocolOptions> {
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })
    };
    let options = match (plan.protocol, &plan.discovery) {
        (Protocol::Tcp, _) => return None,
        (_, Discovery::OriginalDestination) => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(Http2ProtocolOptions::default()),
                ..Default::default()
            })
        }
        (Protocol::Http1, _) => explicit(ProtocolConfig::HttpProtocolOptions(
            Http1ProtocolOptions::default(),
        )),
        (Protocol::Http2 | Protocol::Grpc, _) => explicit(ProtocolConfig::Http2ProtocolOptions(
            Http2ProtocolOptions::default(),
        )),
    };
    Some(HttpProtocolOptions {
        upstream_protocol_options: Some(options),
        ..Default::default()
    })
}

fn circuit_breakers(plan: &Cluster) -> CircuitBreakers {
    let limit = |limit: Option<u32>| uint32(limit.unwrap_or(UNLIMITED));
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: limit(plan.limits.connections),
            max_pending_requests: limit(plan.limits.pending),
            max_requests: limit(plan.limits.requests),
            max_retries: uint32(UNLIMITED),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn health_check(cluster: &str, check: &HealthCheck) -> core::HealthCheck {
    let checker = match check.protocol {
        Protocol::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck::default()),
        Protocol::Grpc => HealthChecker::GrpcHealthCheck(GrpcHealthCheck::default()),
        Protocol::Http1 | Protocol::Http2 => HealthChecker::HttpHealthCheck(HttpHealthCheck {
            host: cluster.to_owned(),
            path: check.path.clone(),
            codec_client_type: match check.protocol {
                Protocol::Http2 => CodecClientType::Http2,
                _ => CodecClientType::Http1,
            }
            .into(),
            ..Default::default()
        }),
    };
    core::HealthCheck {
        timeout: Some(duration(check.timeout)),
        interval: Some(duration(check.interval)),
        // Envoy's default is a minute as long as a cluster has had no traffic: a host that failed its first
        // check would stay out that long.
        no_traffic_interval: Some(duration(check.interval)),
        healthy_threshold: uint32(check.healthy_threshold),
        unhealthy_threshold: uint32(check.unhealthy_threshold),
        health_checker: Some(checker),
        ..Default::default()
    }
}

fn outlier(plan: &plan::OutlierDetection) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: uint32(plan.errors),
        interval: Some(duration(plan.interval)),
        base_ejection_time: Some(duration(plan.ejection)),
        max_ejection_percent: uint32(plan.percent),
        enforcing_consecutive_5xx: uint32(100),
        // App Mesh ejects for consecutive errors only: Envoy's other detectors are off.
        enforcing_success_rate: uint32(0),
        enforcing_consecutive_gateway_failure: uint32(0),
        always_eject_one_host: boolean(true),
        // An ejection lasts its full time, whatever an active health check finds meanwhile.
        successful_active_health_check_uneject_host: boolean(false),
        ..Default::default()
    }
}
