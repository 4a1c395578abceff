//! How upstream connections of a cluster speak and are made: HTTP version, limits per connection, socket mark.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as proto;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;

use super::super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::super::value::{decode_any, duration_or, flag, number, timeout};
use super::{Cluster, Http2Keepalive, Protocol, ceiling};

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Streams at once on an HTTP/2 connection, of either end, unless the configuration says otherwise. Envoy's default.
pub(in crate::config) const MAX_CONCURRENT_STREAMS: u32 = 1024;
/// `SOL_SOCKET` and `SO_MARK`, the one socket option an upstream bind configuration may set.
const MARK_OPTION: (i64, i64) = (1, 36);

pub(super) fn read(cluster: &proto::Cluster, compiled: &mut Cluster) -> ConfigResult<()> {
    if let Some(options) = &cluster.http2_protocol_options {
        compiled.protocol = Protocol::Http2;
        http2(options, compiled).context("http2_protocol_options")?;
    }
    if cluster.protocol_selection
        == proto::cluster::ClusterProtocolSelection::UseDownstreamProtocol as i32
    {
        compiled.protocol = Protocol::Downstream;
    }
    if let Some(common) = &cluster.common_http_protocol_options {
        common_http(common, compiled).context("common_http_protocol_options")?;
    }
    for (name, any) in &cluster.typed_extension_protocol_options {
        if name != HTTP_OPTIONS {
            return Err(ConfigError::new(
                format!("typed_extension_protocol_options[{name}]"),
                "is not supported",
            ));
        }
        typed_options(&decode_any(any).context(HTTP_OPTIONS)?, compiled).context(HTTP_OPTIONS)?;
    }
    Ok(())
}

fn typed_options(
    options: &upstream_http::HttpProtocolOptions,
    compiled: &mut Cluster,
) -> ConfigResult<()> {
    use upstream_http::http_protocol_options::UpstreamProtocolOptions as Choice;
    use upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;
    reject_set!(options;
        upstream_http_protocol_options, header_validation_config, outlier_detection, request_mirror_policies,
        hash_policy, retry_policy,
    );
    for filter in &options.http_filters {
        if filter.name != "envoy.filters.http.upstream_codec" {
            return Err(ConfigError::new(
                "http_filters",
                format!("{:?} is not supported", filter.name),
            ));
        }
    }
    if let Some(common) = &options.common_http_protocol_options {
        common_http(common, compiled).context("common_http_protocol_options")?;
    }
    match &options.upstream_protocol_options {
        Some(Choice::ExplicitHttpConfig(explicit)) => match &explicit.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(options)) => {
                reject_set!(options; header_key_format, send_fully_qualified_url);
                compiled.protocol = Protocol::Http1;
            }
            Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
                compiled.protocol = Protocol::Http2;
                http2(options, compiled).context("explicit_http_config.http2_protocol_options")?;
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                return Err(ConfigError::unsupported(
                    "explicit_http_config.http3_protocol_options",
                ));
            }
            None => {
                return Err(ConfigError::new(
                    "explicit_http_config.protocol_config",
                    "is required",
                ));
            }
        },
        Some(Choice::UseDownstreamProtocolConfig(config)) => {
            compiled.protocol = Protocol::Downstream;
            if let Some(options) = &config.http2_protocol_options {
                http2(options, compiled)
                    .context("use_downstream_protocol_config.http2_protocol_options")?;
            }
        }
        Some(Choice::AutoConfig(_)) => return Err(ConfigError::unsupported("auto_config")),
        None => return Err(ConfigError::new("upstream_protocol_options", "is required")),
    }
    Ok(())
}

fn common_http(common: &core::HttpProtocolOptions, compiled: &mut Cluster) -> ConfigResult<()> {
    reject_set!(common; max_connection_duration, max_stream_duration);
    compiled.idle_timeout = timeout(
        common.idle_timeout.as_ref(),
        compiled.idle_timeout,
        "idle_timeout",
    )?;
    if let Some(requests) = &common.max_requests_per_connection {
        compiled.max_requests_per_connection = ceiling(requests.value);
    }
    Ok(())
}

fn http2(options: &core::Http2ProtocolOptions, compiled: &mut Cluster) -> ConfigResult<()> {
    reject_set!(options; allow_connect, allow_metadata, custom_settings_parameters);
    let streams = number(
        options.max_concurrent_streams.as_ref(),
        MAX_CONCURRENT_STREAMS,
    );
    if streams == 0 {
        return Err(ConfigError::new(
            "max_concurrent_streams",
            "must be at least 1",
        ));
    }
    compiled.max_concurrent_streams = streams;
    compiled.http2_keepalive = http2_keepalive(options)?;
    Ok(())
}

/// `connection_keepalive`, of either end.
pub(in crate::config) fn http2_keepalive(
    options: &core::Http2ProtocolOptions,
) -> ConfigResult<Option<Http2Keepalive>> {
    let Some(keepalive) = &options.connection_keepalive else {
        return Ok(None);
    };
    let field = |name| format!("connection_keepalive.{name}");
    let timeout = duration_or(
        keepalive.timeout.as_ref(),
        Duration::ZERO,
        &field("timeout"),
    )?;
    if timeout.is_zero() {
        return Err(ConfigError::new(field("timeout"), "is required"));
    }
    // Without an interval Envoy pings only after idleness.
    let interval = duration_or(
        keepalive.interval.as_ref(),
        Duration::ZERO,
        &field("interval"),
    )?;
    Ok((!interval.is_zero()).then_some(Http2Keepalive { interval, timeout }))
}

/// The socket mark of upstream connections. Anything else a bind configuration could ask for is refused.
pub(super) fn bind_mark(bind: &core::BindConfig) -> ConfigResult<Option<u32>> {
    reject_set!(bind; extra_source_addresses, additional_source_addresses, local_address_selector);
    if flag(bind.freebind.as_ref(), false) {
        return Err(ConfigError::unsupported("freebind"));
    }
    if let Some(source) = &bind.source_address {
        let any_port = matches!(
            source.port_specifier,
            None | Some(core::socket_address::PortSpecifier::PortValue(0))
        );
        if !matches!(source.address.as_str(), "" | "0.0.0.0" | "::") || !any_port {
            return Err(ConfigError::new(
                "source_address",
                "only the unspecified address is supported",
            ));
        }
    }
    let mut mark = None;
    for (index, option) in bind.socket_options.iter().enumerate() {
        match (&option.value, (option.level, option.name)) {
            (Some(core::socket_option::Value::IntValue(value)), MARK_OPTION) => {
                let value = u32::try_from(*value).map_err(|_| {
                    ConfigError::new(
                        format!("socket_options[{index}].int_value"),
                        "is not a 32-bit socket mark",
                    )
                })?;
                mark = Some(value);
            }
            _ => {
                return Err(ConfigError::new(
                    format!("socket_options[{index}]"),
                    format!(
                        "only SO_MARK (level 1, name 36) is supported, not {}/{}",
                        option.level, option.name
                    ),
                ));
            }
        }
    }
    Ok(mark)
}
