//! HTTP protocol options of upstream connections: HTTP version and limits per connection.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as proto;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;

use super::super::any::decode_any;
use super::super::error::{ConfigError, ConfigResult, ErrorContext, ensure, reject_set};
use super::super::field::{Wrapped, field};
use super::{Cluster, Http2Keepalive, Protocol, nonzero};

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Maximum concurrent streams of an HTTP/2 connection, of either end, unless configured. Envoy's default.
pub(in crate::config) const MAX_CONCURRENT_STREAMS: u32 = 1024;

pub(super) fn compile(cluster: &proto::Cluster, compiled: &mut Cluster) -> ConfigResult<()> {
    field!(cluster.http2_protocol_options).compile(|options| http2(options, compiled))?;
    if cluster.protocol_selection
        == proto::cluster::ClusterProtocolSelection::UseDownstreamProtocol as i32
    {
        compiled.protocol = Protocol::Downstream;
    }
    field!(cluster.common_http_protocol_options).compile(|options| common(options, compiled))?;
    for (name, any) in &cluster.typed_extension_protocol_options {
        ensure(
            name == HTTP_OPTIONS,
            format!("typed_extension_protocol_options[{name}]"),
            "is not supported",
        )?;
        let options = decode_any(any).context(HTTP_OPTIONS)?;
        typed_options(&options, compiled).context(HTTP_OPTIONS)?;
    }
    Ok(())
}

fn typed_options(
    options: &upstream_http::HttpProtocolOptions,
    compiled: &mut Cluster,
) -> ConfigResult<()> {
    use upstream_http::http_protocol_options::UpstreamProtocolOptions as Choice;
    reject_set!(options;
        upstream_http_protocol_options, header_validation_config, outlier_detection, request_mirror_policies,
        hash_policy, retry_policy,
    );
    for filter in &options.http_filters {
        ensure(
            filter.name == "envoy.filters.http.upstream_codec",
            "http_filters",
            format!("{:?} is not supported", filter.name),
        )?;
    }
    field!(options.common_http_protocol_options).compile(|options| common(options, compiled))?;
    match &options.upstream_protocol_options {
        Some(Choice::ExplicitHttpConfig(explicit)) => {
            explicit_protocol(explicit, compiled).context("explicit_http_config")
        }
        Some(Choice::UseDownstreamProtocolConfig(config)) => {
            field!(config.http2_protocol_options)
                .compile(|options| http2(options, compiled))
                .context("use_downstream_protocol_config")?;
            compiled.protocol = Protocol::Downstream;
            Ok(())
        }
        Some(Choice::AutoConfig(_)) => Err(ConfigError::unsupported("auto_config")),
        None => Err(ConfigError::new("upstream_protocol_options", "is required")),
    }
}

fn explicit_protocol(
    explicit: &upstream_http::http_protocol_options::ExplicitHttpConfig,
    compiled: &mut Cluster,
) -> ConfigResult<()> {
    use upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;
    match field!(explicit.protocol_config).required()? {
        ProtocolConfig::HttpProtocolOptions(options) => {
            reject_set!(options; header_key_format, send_fully_qualified_url);
            compiled.protocol = Protocol::Http1;
            Ok(())
        }
        ProtocolConfig::Http2ProtocolOptions(options) => {
            http2(options, compiled).context("http2_protocol_options")
        }
        ProtocolConfig::Http3ProtocolOptions(_) => {
            Err(ConfigError::unsupported("http3_protocol_options"))
        }
    }
}

fn common(common: &core::HttpProtocolOptions, compiled: &mut Cluster) -> ConfigResult<()> {
    reject_set!(common; max_connection_duration, max_stream_duration);
    compiled.idle_timeout = field!(common.idle_timeout).timeout(compiled.idle_timeout)?;
    if let Some(requests) = common.max_requests_per_connection.value() {
        compiled.max_requests_per_connection = nonzero(requests);
    }
    Ok(())
}

fn http2(options: &core::Http2ProtocolOptions, compiled: &mut Cluster) -> ConfigResult<()> {
    reject_set!(options; allow_connect, allow_metadata, custom_settings_parameters);
    let streams = options
        .max_concurrent_streams
        .value_or(MAX_CONCURRENT_STREAMS);
    ensure(streams > 0, "max_concurrent_streams", "must be at least 1")?;
    compiled.protocol = Protocol::Http2;
    compiled.max_concurrent_streams = streams;
    compiled.http2_keepalive = http2_keepalive(options)?;
    Ok(())
}

/// `connection_keepalive`, of clusters and of listeners.
pub(in crate::config) fn http2_keepalive(
    options: &core::Http2ProtocolOptions,
) -> ConfigResult<Option<Http2Keepalive>> {
    let compile = |keepalive: &core::KeepaliveSettings| {
        let timeout = field!(keepalive.timeout).duration(Duration::ZERO)?;
        ensure(!timeout.is_zero(), "timeout", "is required")?;
        // Without an interval Envoy only pings idle connections.
        let interval = field!(keepalive.interval).timeout(None)?;
        Ok(interval.map(|interval| Http2Keepalive { interval, timeout }))
    };
    Ok(field!(options.connection_keepalive)
        .compile(compile)?
        .flatten())
}
