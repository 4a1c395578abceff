//! The action of a route: forward, redirect or direct response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as proto;
use http::{HeaderName, HeaderValue, StatusCode};

use super::data_source::inline_data;
use super::error::{ConfigError, ConfigResult, ErrorContext, ensure, reject_set};
use super::field::{Wrapped, field};
use super::mutation::{Mutations, mutations};
use super::regex::Substitution;
use super::retry::RetryPolicy;
use super::weighted::Weighted;

/// Maximum bytes of a request body that are kept for a retry, unless the route sets another limit.
const DEFAULT_BUFFER_LIMIT: u64 = 64 * 1024;
/// Upper bound of any configured limit.
const MAX_BUFFER_LIMIT: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) enum Action {
    Forward(Box<Forward>),
    Redirect(Box<Redirect>),
    DirectResponse { status: StatusCode, body: Bytes },
}

#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) target: Target,
    /// From the end of the request to the end of the response; `None` disables it.
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Option<Duration>>,
    pub(crate) max_duration: Option<Duration>,
    pub(crate) retry: Option<Arc<RetryPolicy>>,
    pub(crate) buffer_limit: usize,
    pub(crate) path: PathRewrite,
    pub(crate) host: HostRewrite,
    pub(crate) not_found_status: StatusCode,
    /// Overrides the listener: `Some(false)` forbids WebSocket, `Some(true)` allows it.
    pub(crate) websocket: Option<bool>,
    pub(crate) forwarded_host: bool,
    /// The value of `x-envoy-expected-rq-timeout-ms`.
    pub(crate) expected_timeout: Option<HeaderValue>,
}

#[derive(Debug)]
pub(crate) enum Target {
    Cluster(Arc<str>),
    Weighted(Weighted<WeightedTarget>),
    Header(HeaderName),
}

#[derive(Debug)]
pub(crate) struct WeightedTarget {
    pub(crate) cluster: Arc<str>,
    pub(crate) mutations: Mutations,
    pub(crate) host: Option<HeaderValue>,
}

#[derive(Debug)]
pub(crate) enum PathRewrite {
    Keep,
    Prefix(String),
    Regex(Substitution),
    Full(String),
}

#[derive(Debug)]
pub(crate) enum HostRewrite {
    Keep,
    Literal(HeaderValue),
    /// The hostname of the selected endpoint.
    Upstream,
    Header(HeaderName),
}

#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) scheme: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) path: PathRewrite,
    pub(crate) strip_query: bool,
    pub(crate) status: StatusCode,
}

pub(super) fn compile(
    action: Option<&proto::route::Action>,
    inherited: Option<&Arc<RetryPolicy>>,
    buffer_limit: Option<u64>,
) -> ConfigResult<Action> {
    match action {
        Some(proto::route::Action::Route(route)) => Ok(Action::Forward(Box::new(
            forward(route, inherited, buffer_limit).context("route")?,
        ))),
        Some(proto::route::Action::Redirect(redirect)) => Ok(Action::Redirect(Box::new(
            compile_redirect(redirect).context("redirect")?,
        ))),
        Some(proto::route::Action::DirectResponse(response)) => {
            direct_response(response).context("direct_response")
        }
        Some(proto::route::Action::FilterAction(_)) => {
            Err(ConfigError::unsupported("filter_action"))
        }
        Some(proto::route::Action::NonForwardingAction(_)) => {
            Err(ConfigError::unsupported("non_forwarding_action"))
        }
        None => Err(ConfigError::new("action", "is required")),
    }
}

fn forward(
    route: &proto::RouteAction,
    inherited: Option<&Arc<RetryPolicy>>,
    buffer_limit: Option<u64>,
) -> ConfigResult<Forward> {
    reject_set!(route;
        metadata_match, path_rewrite_policy, early_data_policy, retry_policy_typed_config, request_mirror_policies,
        rate_limits, hash_policy, cors, internal_redirect_policy, hedge_policy, priority,
    );
    use proto::route_action::ClusterNotFoundResponseCode as NotFound;
    let max_duration = field!(route.max_stream_duration).compile(|limits| {
        reject_set!(limits; grpc_timeout_header_max, grpc_timeout_header_offset);
        field!(limits.max_stream_duration).timeout(None)
    })?;
    let not_found_status = match field!(route.cluster_not_found_response_code).variant("code")? {
        NotFound::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        NotFound::NotFound => StatusCode::NOT_FOUND,
        NotFound::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let websocket = field!(route.upgrade_configs).each(|upgrade| {
        let is_websocket = upgrade.upgrade_type.eq_ignore_ascii_case("websocket")
            && upgrade.connect_config.is_none();
        ensure(is_websocket, "", "only websocket is supported")?;
        Ok(upgrade.enabled.value_or(true))
    })?;
    let retry = field!(route.retry_policy).compile(RetryPolicy::compile)?;
    let retry = retry.map(Arc::new).or_else(|| inherited.cloned());
    let limit = buffer_limit
        .unwrap_or(DEFAULT_BUFFER_LIMIT)
        .min(MAX_BUFFER_LIMIT);
    let total = field!(route.timeout).timeout(Some(Duration::from_secs(15)))?;
    let per_try = retry.as_ref().and_then(|retry| retry.per_try_timeout);
    let expected_timeout = total
        .into_iter()
        .chain(per_try)
        .min()
        .and_then(|expected| u64::try_from(expected.as_millis()).ok())
        .map(HeaderValue::from);
    Ok(Forward {
        target: target(route)?,
        timeout: total,
        idle_timeout: match &route.idle_timeout {
            None => None,
            Some(_) => Some(field!(route.idle_timeout).timeout(None)?),
        },
        max_duration: max_duration.flatten(),
        retry,
        buffer_limit: usize::try_from(limit).unwrap_or(usize::MAX),
        path: path_rewrite(
            &route.prefix_rewrite,
            route.regex_rewrite.as_ref(),
            &route.path_rewrite,
        )?,
        host: host_rewrite(route.host_rewrite_specifier.as_ref())?,
        not_found_status,
        websocket: websocket.last().copied(),
        forwarded_host: route.append_x_forwarded_host,
        expected_timeout,
    })
}

fn target(route: &proto::RouteAction) -> ConfigResult<Target> {
    use proto::route_action::ClusterSpecifier;
    match &route.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) if !name.is_empty() => {
            Ok(Target::Cluster(name.as_str().into()))
        }
        Some(ClusterSpecifier::ClusterHeader(name)) => {
            Ok(Target::Header(header_name("cluster_header", name)?))
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted_target(weighted).context("weighted_clusters")
        }
        Some(ClusterSpecifier::Cluster(_)) | None => {
            Err(ConfigError::new("cluster", "is required"))
        }
        Some(_) => Err(ConfigError::unsupported("cluster_specifier_plugin")),
    }
}

fn weighted_target(weighted: &proto::WeightedCluster) -> ConfigResult<Target> {
    reject_set!(weighted; random_value_specifier);
    let targets = field!(weighted.clusters).each(weighted_entry)?;
    Ok(Target::Weighted(Weighted::new(targets)?))
}

fn weighted_entry(
    entry: &proto::weighted_cluster::ClusterWeight,
) -> ConfigResult<(u32, WeightedTarget)> {
    reject_set!(entry; cluster_header, metadata_match, typed_per_filter_config);
    field!(entry.name).required()?;
    use proto::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    let host = match &entry.host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(literal)) => Some(authority(literal)?),
        None => None,
    };
    let target = WeightedTarget {
        cluster: entry.name.as_str().into(),
        mutations: mutations!(entry),
        host,
    };
    Ok((entry.weight.value_or(0), target))
}

fn header_name(field: &str, name: &str) -> ConfigResult<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| ConfigError::new(field, format!("{name:?} is not a header name")))
}

fn authority(literal: &str) -> ConfigResult<HeaderValue> {
    HeaderValue::from_str(literal)
        .map_err(|_| ConfigError::new("host_rewrite_literal", "is not a valid host"))
}

fn host_rewrite(
    specifier: Option<&proto::route_action::HostRewriteSpecifier>,
) -> ConfigResult<HostRewrite> {
    use proto::route_action::HostRewriteSpecifier as Spec;
    Ok(match specifier {
        None => HostRewrite::Keep,
        Some(Spec::HostRewriteLiteral(literal)) => HostRewrite::Literal(authority(literal)?),
        Some(Spec::AutoHostRewrite(auto)) if auto.value => HostRewrite::Upstream,
        Some(Spec::AutoHostRewrite(_)) => HostRewrite::Keep,
        Some(Spec::HostRewriteHeader(name)) => {
            HostRewrite::Header(header_name("host_rewrite_header", name)?)
        }
        Some(_) => return Err(ConfigError::unsupported("host_rewrite_specifier")),
    })
}

fn path_rewrite(
    prefix: &str,
    regex: Option<&envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute>,
    full: &str,
) -> ConfigResult<PathRewrite> {
    match (prefix.is_empty(), regex, full.is_empty()) {
        (true, None, true) => Ok(PathRewrite::Keep),
        (false, None, true) => Ok(PathRewrite::Prefix(prefix.to_owned())),
        (true, Some(regex), true) => Ok(PathRewrite::Regex(
            Substitution::compile(regex).context("regex_rewrite")?,
        )),
        // `path_rewrite` is a format in Envoy; only constants are supported here.
        (true, None, false) if full.contains('%') => Err(ConfigError::new(
            "path_rewrite",
            "format operators are not supported",
        )),
        (true, None, false) => Ok(PathRewrite::Full(full.to_owned())),
        _ => Err(ConfigError::new(
            "prefix_rewrite",
            "only one of prefix, regex and path rewrite may be set",
        )),
    }
}

fn compile_redirect(redirect: &proto::RedirectAction) -> ConfigResult<Redirect> {
    use proto::redirect_action::{
        PathRewriteSpecifier, RedirectResponseCode as Code, SchemeRewriteSpecifier,
    };
    let status = match field!(redirect.response_code).variant("redirect status")? {
        Code::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        Code::Found => StatusCode::FOUND,
        Code::SeeOther => StatusCode::SEE_OTHER,
        Code::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
        Code::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
    };
    let path = match &redirect.path_rewrite_specifier {
        None => PathRewrite::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path)) => PathRewrite::Full(path.clone()),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => PathRewrite::Prefix(prefix.clone()),
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            PathRewrite::Regex(Substitution::compile(regex).context("regex_rewrite")?)
        }
        Some(_) => return Err(ConfigError::unsupported("path_rewrite")),
    };
    let scheme = match &redirect.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(scheme.clone()),
        _ => None,
    };
    Ok(Redirect {
        scheme,
        host: (!redirect.host_redirect.is_empty()).then(|| redirect.host_redirect.clone()),
        port: field!(redirect.port_redirect).port()?,
        path,
        strip_query: redirect.strip_query,
        status,
    })
}

fn direct_response(response: &proto::DirectResponseAction) -> ConfigResult<Action> {
    reject_set!(response; body_format);
    let status = u16::try_from(response.status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .filter(|status| status.as_u16() >= 200)
        .ok_or_else(|| ConfigError::new("status", "is not a final HTTP status"))?;
    let body = field!(response.body).compile(inline_data)?;
    let body = body.unwrap_or_default();
    ensure(body.len() <= 4096, "body", "is larger than 4096 bytes")?;
    Ok(Action::DirectResponse {
        status,
        body: body.into(),
    })
}
