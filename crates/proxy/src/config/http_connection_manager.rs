//! `http_connection_manager`: the HTTP options of the client connections of one filter chain.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use http::HeaderValue;

use super::access_log::AccessLog;
use super::any::{any_name, decode_any};
use super::cluster::http_protocol_options::{MAX_CONCURRENT_STREAMS, http2_keepalive};
use super::cluster::{Http2Keepalive, nonzero};
use super::error::{ConfigError, ConfigResult, ErrorContext, ensure, reject_set};
use super::field::{Wrapped, field};
use super::route::{self, RouteTable};

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const GRPC_STATS: &str = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";

#[derive(Debug)]
pub(crate) struct HttpConnectionManager {
    pub(crate) codec: Codec,
    pub(crate) stat_prefix: Arc<str>,
    pub(crate) routes: Routes,
    pub(crate) server: ServerHeader,
    /// Maximum time between two events of one stream.
    pub(crate) stream_idle_timeout: Option<Duration>,
    /// Maximum time for the whole request to arrive.
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) request_headers_timeout: Option<Duration>,
    /// Maximum idle time of a connection without streams.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_connection_duration: Option<Duration>,
    pub(crate) max_requests_per_connection: Option<u32>,
    pub(crate) max_header_bytes: usize,
    pub(crate) max_header_count: usize,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) http2_keepalive: Option<Http2Keepalive>,
    pub(crate) websocket: bool,
    pub(crate) normalize_path: bool,
    pub(crate) merge_slashes: bool,
    pub(crate) generate_request_id: bool,
    pub(crate) preserve_request_id: bool,
    pub(crate) request_id_in_response: bool,
    pub(crate) use_remote_address: bool,
    pub(crate) skip_xff_append: bool,
    pub(crate) strip_port: StripPort,
    pub(crate) via: Option<HeaderValue>,
    pub(crate) accept_http_10: bool,
    /// Whether the router adds `x-envoy-*` headers.
    pub(crate) envoy_headers: bool,
    pub(crate) underscores: HeadersWithUnderscoresAction,
    pub(crate) access_logs: Vec<AccessLog>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// HTTP/2 when the connection opens with its preface, HTTP/1 otherwise.
    Auto,
    Http1,
    Http2,
}

#[derive(Debug)]
pub(crate) enum Routes {
    /// The name of a route table that RDS delivers.
    Named(Arc<str>),
    Inline(Arc<RouteTable>),
}

/// The treatment of the `server` response header.
#[derive(Debug)]
pub(crate) enum ServerHeader {
    Overwrite(HeaderValue),
    AppendIfAbsent(HeaderValue),
    PassThrough,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StripPort {
    Keep,
    /// Only when the port is the listener's own.
    Matching,
    Any,
}

pub(crate) fn compile(
    config: &proto::HttpConnectionManager,
) -> ConfigResult<HttpConnectionManager> {
    reject_set!(config;
        add_user_agent, scheme_header_transformation, original_ip_detection_extensions,
        early_header_mutation_extensions, forward_client_cert_details, forward_client_cert_matcher,
        proxy_100_continue, represent_ipv4_remote_address_as_ipv4_mapped_ipv6, path_with_escaped_slashes_action,
        request_id_extension, local_reply_config, path_normalization_options, strip_trailing_host_dot,
        proxy_status_config, typed_header_validation_config, xff_num_trusted_hops, append_x_forwarded_port,
        http3_protocol_options,
    );
    use proto::http_connection_manager::CodecType;
    let codec = match CodecType::try_from(config.codec_type) {
        Ok(CodecType::Auto) => Codec::Auto,
        Ok(CodecType::Http1) => Codec::Http1,
        Ok(CodecType::Http2) => Codec::Http2,
        _ => {
            return Err(ConfigError::new(
                "codec_type",
                "only AUTO, HTTP1 and HTTP2 are supported",
            ));
        }
    };
    let websocket = field!(config.upgrade_configs).each(|upgrade| {
        reject_set!(upgrade; filters);
        ensure(
            upgrade.upgrade_type.eq_ignore_ascii_case("websocket"),
            "upgrade_type",
            format!("{:?} is not supported", upgrade.upgrade_type),
        )?;
        Ok(upgrade.enabled.value_or(true))
    })?;
    let mut accept_http_10 = false;
    if let Some(options) = &config.http_protocol_options {
        reject_set!(options; header_key_format, default_host_for_http_10);
        accept_http_10 = options.accept_http_10;
    }
    let mut compiled = HttpConnectionManager {
        codec,
        stat_prefix: config.stat_prefix.as_str().into(),
        routes: routes(config)?,
        server: server(config)?,
        stream_idle_timeout: field!(config.stream_idle_timeout)
            .timeout(Some(Duration::from_secs(300)))?,
        request_timeout: field!(config.request_timeout).timeout(None)?,
        request_headers_timeout: field!(config.request_headers_timeout).timeout(None)?,
        idle_timeout: Some(Duration::from_secs(3600)),
        max_connection_duration: None,
        max_requests_per_connection: None,
        max_header_bytes: config.max_request_headers_kb.value_or(60).clamp(8, 8192) as usize * 1024,
        max_header_count: 100,
        max_concurrent_streams: MAX_CONCURRENT_STREAMS,
        http2_keepalive: None,
        websocket: websocket.last().copied().unwrap_or(false),
        normalize_path: config.normalize_path.value_or(false),
        merge_slashes: config.merge_slashes,
        generate_request_id: config.generate_request_id.value_or(true),
        preserve_request_id: config.preserve_external_request_id,
        request_id_in_response: config.always_set_request_id_in_response,
        use_remote_address: config.use_remote_address.value_or(false),
        skip_xff_append: config.skip_xff_append,
        strip_port: strip_port(config),
        via: field!(config.via).header_value()?,
        accept_http_10,
        envoy_headers: filters(config)?,
        underscores: HeadersWithUnderscoresAction::Allow,
        access_logs: field!(config.access_log).each(AccessLog::compile)?,
    };
    if let Some(options) = &config.http2_protocol_options {
        let streams = &options.max_concurrent_streams;
        compiled.max_concurrent_streams = streams.value_or(MAX_CONCURRENT_STREAMS).max(1);
        compiled.http2_keepalive = http2_keepalive(options).context("http2_protocol_options")?;
    }
    field!(config.common_http_protocol_options)
        .compile(|options| common(options, &mut compiled))?;
    Ok(compiled)
}

fn common(
    options: &core::HttpProtocolOptions,
    compiled: &mut HttpConnectionManager,
) -> ConfigResult<()> {
    reject_set!(options; max_stream_duration);
    compiled.idle_timeout = field!(options.idle_timeout).timeout(compiled.idle_timeout)?;
    compiled.max_connection_duration = field!(options.max_connection_duration).timeout(None)?;
    compiled.max_header_count = options.max_headers_count.value_or(100).clamp(1, 4096) as usize;
    compiled.max_requests_per_connection = nonzero(options.max_requests_per_connection.value_or(0));
    compiled.underscores = field!(options.headers_with_underscores_action).variant("action")?;
    Ok(())
}

/// The router must be the last filter, and is the only supported one. Returns whether it adds `x-envoy-*` headers.
fn filters(config: &proto::HttpConnectionManager) -> ConfigResult<bool> {
    let found = field!(config.http_filters).each(filter)?;
    let router = found.into_iter().flatten().last();
    router
        .ok_or_else(|| ConfigError::new("http_filters", "must end with envoy.filters.http.router"))
}

/// `Some` for the router, with whether it adds `x-envoy-*` headers; `None` for a filter without effect here.
fn filter(filter: &proto::HttpFilter) -> ConfigResult<Option<bool>> {
    use proto::http_filter::ConfigType;
    let any = match &filter.config_type {
        _ if filter.disabled => return Ok(None),
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(ConfigError::unsupported("config_discovery"));
        }
        Some(ConfigType::TypedConfig(any)) => Some(any),
        None => None,
    };
    match any.map(|any| (any_name(any), any)) {
        Some((ROUTER, any)) => {
            let router: Router = decode_any(any)?;
            reject_set!(router; upstream_log, upstream_http_filters, strict_check_headers, respect_expected_rq_timeout);
            Ok(Some(!router.suppress_envoy_headers))
        }
        // The gRPC statistics filter only counts.
        Some((GRPC_STATS, _)) => Ok(None),
        _ if filter.is_optional => Ok(None),
        _ => Err(ConfigError::new(
            "",
            format!("filter {:?} is not supported", filter.name),
        )),
    }
}

fn routes(config: &proto::HttpConnectionManager) -> ConfigResult<Routes> {
    use proto::http_connection_manager::RouteSpecifier;
    match &config.route_specifier {
        Some(RouteSpecifier::Rds(rds)) if !rds.route_config_name.is_empty() => {
            Ok(Routes::Named(rds.route_config_name.as_str().into()))
        }
        Some(RouteSpecifier::RouteConfig(table)) => {
            let table = route::compile(table).context("route_config")?;
            Ok(Routes::Inline(Arc::new(table)))
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => Err(ConfigError::unsupported("scoped_routes")),
        _ => Err(ConfigError::new(
            "route_specifier",
            "rds.route_config_name or route_config is required",
        )),
    }
}

fn server(config: &proto::HttpConnectionManager) -> ConfigResult<ServerHeader> {
    use proto::http_connection_manager::ServerHeaderTransformation as Transformation;
    let name = field!(config.server_name).header_value()?;
    let name = name.unwrap_or(HeaderValue::from_static("envoy"));
    let transformation = field!(config.server_header_transformation).variant("transformation")?;
    Ok(match transformation {
        Transformation::Overwrite => ServerHeader::Overwrite(name),
        Transformation::AppendIfAbsent => ServerHeader::AppendIfAbsent(name),
        Transformation::PassThrough => ServerHeader::PassThrough,
    })
}

fn strip_port(config: &proto::HttpConnectionManager) -> StripPort {
    match config.strip_port_mode {
        Some(proto::http_connection_manager::StripPortMode::StripAnyHostPort(true)) => {
            StripPort::Any
        }
        _ if config.strip_matching_host_port => StripPort::Matching,
        _ => StripPort::Keep,
    }
}
