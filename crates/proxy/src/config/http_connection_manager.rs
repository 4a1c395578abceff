//! `http_connection_manager`: how HTTP is spoken to clients of one filter chain.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use http::HeaderValue;

use super::access_log::AccessLog;
use super::cluster::Http2Keepalive;
use super::cluster::protocol::{MAX_CONCURRENT_STREAMS, http2_keepalive};
use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::route::{self, RouteTable};
use super::value::{any_name, decode_any, flag, number, timeout};

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

#[derive(Debug)]
pub(crate) struct HttpConnectionManager {
    pub(crate) codec: Codec,
    pub(crate) stat_prefix: Arc<str>,
    pub(crate) routes: Routes,
    pub(crate) server: ServerHeader,
    /// Between two events of one stream.
    pub(crate) stream_idle_timeout: Option<Duration>,
    /// For the whole request to arrive.
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) request_headers_timeout: Option<Duration>,
    /// Of a connection without streams.
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
    pub(crate) underscores: Underscores,
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
    /// A route table delivered as a resource of its own.
    Named(Arc<str>),
    Inline(Arc<RouteTable>),
}

/// How the `server` response header is set.
#[derive(Debug)]
pub(crate) enum ServerHeader {
    Overwrite(HeaderValue),
    AppendIfAbsent(HeaderValue),
    PassThrough,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StripPort {
    Keep,
    /// Only when it is the listener's own port.
    Matching,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Underscores {
    Allow,
    RejectRequest,
    DropHeader,
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
    let envoy_headers = filters(config)?;
    let mut websocket = false;
    for (index, upgrade) in config.upgrade_configs.iter().enumerate() {
        reject_set!(upgrade; filters);
        if !upgrade.upgrade_type.eq_ignore_ascii_case("websocket") {
            return Err(ConfigError::new(
                format!("upgrade_configs[{index}].upgrade_type"),
                format!("{:?} is not supported", upgrade.upgrade_type),
            ));
        }
        websocket = flag(upgrade.enabled.as_ref(), true);
    }
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
        stream_idle_timeout: timeout(
            config.stream_idle_timeout.as_ref(),
            Some(Duration::from_secs(300)),
            "stream_idle_timeout",
        )?,
        request_timeout: timeout(config.request_timeout.as_ref(), None, "request_timeout")?,
        request_headers_timeout: timeout(
            config.request_headers_timeout.as_ref(),
            None,
            "request_headers_timeout",
        )?,
        idle_timeout: Some(Duration::from_secs(3600)),
        max_connection_duration: None,
        max_requests_per_connection: None,
        max_header_bytes: number(config.max_request_headers_kb.as_ref(), 60).clamp(8, 8192)
            as usize
            * 1024,
        max_header_count: 100,
        max_concurrent_streams: MAX_CONCURRENT_STREAMS,
        http2_keepalive: None,
        websocket,
        normalize_path: flag(config.normalize_path.as_ref(), false),
        merge_slashes: config.merge_slashes,
        generate_request_id: flag(config.generate_request_id.as_ref(), true),
        preserve_request_id: config.preserve_external_request_id,
        request_id_in_response: config.always_set_request_id_in_response,
        use_remote_address: flag(config.use_remote_address.as_ref(), false),
        skip_xff_append: config.skip_xff_append,
        strip_port: strip_port(config),
        via: header_value(&config.via, "via")?,
        accept_http_10,
        envoy_headers,
        underscores: Underscores::Allow,
        access_logs: AccessLog::compile_all(&config.access_log)?,
    };
    if let Some(options) = &config.http2_protocol_options {
        let streams = number(
            options.max_concurrent_streams.as_ref(),
            MAX_CONCURRENT_STREAMS,
        );
        compiled.max_concurrent_streams = streams.max(1);
        compiled.http2_keepalive = http2_keepalive(options).context("http2_protocol_options")?;
    }
    if let Some(options) = &config.common_http_protocol_options {
        common(options, &mut compiled).context("common_http_protocol_options")?;
    }
    Ok(compiled)
}

fn common(
    options: &envoy_types::pb::envoy::config::core::v3::HttpProtocolOptions,
    compiled: &mut HttpConnectionManager,
) -> ConfigResult<()> {
    use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction as Action;
    reject_set!(options; max_stream_duration);
    compiled.idle_timeout = timeout(
        options.idle_timeout.as_ref(),
        compiled.idle_timeout,
        "idle_timeout",
    )?;
    compiled.max_connection_duration = timeout(
        options.max_connection_duration.as_ref(),
        None,
        "max_connection_duration",
    )?;
    compiled.max_header_count =
        number(options.max_headers_count.as_ref(), 100).clamp(1, 4096) as usize;
    let requests = number(options.max_requests_per_connection.as_ref(), 0);
    compiled.max_requests_per_connection = (requests != 0).then_some(requests);
    compiled.underscores = match Action::try_from(options.headers_with_underscores_action) {
        Ok(Action::Allow) => Underscores::Allow,
        Ok(Action::RejectRequest) => Underscores::RejectRequest,
        Ok(Action::DropHeader) => Underscores::DropHeader,
        Err(_) => {
            return Err(ConfigError::new(
                "headers_with_underscores_action",
                "is not a known action",
            ));
        }
    };
    Ok(())
}

/// The router must be the last filter, and is the only one understood. Returns whether it adds `x-envoy-*` headers.
fn filters(config: &proto::HttpConnectionManager) -> ConfigResult<bool> {
    let mut envoy_headers = None;
    for (index, filter) in config.http_filters.iter().enumerate() {
        let location = || format!("http_filters[{index}]");
        if filter.disabled {
            continue;
        }
        let name = match &filter.config_type {
            Some(proto::http_filter::ConfigType::TypedConfig(any)) => any_name(any),
            Some(proto::http_filter::ConfigType::ConfigDiscovery(_)) => {
                return Err(ConfigError::unsupported(format!(
                    "{}.config_discovery",
                    location()
                )));
            }
            None => "",
        };
        match (name, &filter.config_type) {
            (ROUTER, Some(proto::http_filter::ConfigType::TypedConfig(any))) => {
                use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
                let router: Router = decode_any(any).context(location())?;
                reject_set!(router; upstream_log, upstream_http_filters, strict_check_headers, respect_expected_rq_timeout);
                envoy_headers = Some(!router.suppress_envoy_headers);
            }
            // gRPC statistics only count.
            ("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", _) => {}
            _ if filter.is_optional => {}
            _ => {
                return Err(ConfigError::new(
                    location(),
                    format!("filter {:?} is not supported", filter.name),
                ));
            }
        }
    }
    envoy_headers
        .ok_or_else(|| ConfigError::new("http_filters", "must end with envoy.filters.http.router"))
}

fn routes(config: &proto::HttpConnectionManager) -> ConfigResult<Routes> {
    match &config.route_specifier {
        Some(proto::http_connection_manager::RouteSpecifier::Rds(rds))
            if !rds.route_config_name.is_empty() =>
        {
            Ok(Routes::Named(rds.route_config_name.as_str().into()))
        }
        Some(proto::http_connection_manager::RouteSpecifier::RouteConfig(table)) => Ok(
            Routes::Inline(Arc::new(route::compile(table).context("route_config")?)),
        ),
        Some(proto::http_connection_manager::RouteSpecifier::ScopedRoutes(_)) => {
            Err(ConfigError::unsupported("scoped_routes"))
        }
        _ => Err(ConfigError::new(
            "route_specifier",
            "rds.route_config_name or route_config is required",
        )),
    }
}

fn server(config: &proto::HttpConnectionManager) -> ConfigResult<ServerHeader> {
    use proto::http_connection_manager::ServerHeaderTransformation as Transformation;
    let name = header_value(&config.server_name, "server_name")?
        .unwrap_or(HeaderValue::from_static("envoy"));
    match Transformation::try_from(config.server_header_transformation) {
        Ok(Transformation::Overwrite) => Ok(ServerHeader::Overwrite(name)),
        Ok(Transformation::AppendIfAbsent) => Ok(ServerHeader::AppendIfAbsent(name)),
        Ok(Transformation::PassThrough) => Ok(ServerHeader::PassThrough),
        Err(_) => Err(ConfigError::new(
            "server_header_transformation",
            "is not a known transformation",
        )),
    }
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

fn header_value(text: &str, field: &str) -> ConfigResult<Option<HeaderValue>> {
    if text.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_str(text)
        .map(Some)
        .map_err(|_| ConfigError::new(field, "is not a valid header value"))
}
