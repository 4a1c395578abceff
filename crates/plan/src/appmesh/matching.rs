//! Compiles the match conditions of routes, and orders routes by precedence.

use crate::plan::{HeaderMatch, Match, PathMatch, ValueMatch};
use std::cmp::Reverse;
use tombolo_model::appmesh::spec::{
    gateway_route::{GrpcGatewayRouteMatch, HttpGatewayRouteMatch},
    matching::{self, Method},
    route::{GrpcRouteMatch, HttpRouteMatch, Scheme},
};

pub(super) fn http(matcher: &HttpRouteMatch) -> Match {
    let mut headers = headers(matcher.headers.as_deref(), matcher.method);
    if let Some(scheme) = matcher.scheme {
        let scheme = if scheme == Scheme::Https {
            "https"
        } else {
            "http"
        };
        headers.push(exact_header(":scheme", scheme));
    }
    Match {
        path: path(matcher.prefix.as_ref(), matcher.path.as_ref()),
        headers,
        query: query(matcher.query_parameters.as_deref()),
        grpc: false,
    }
}

/// The host is left out: see [`super::gateway`].
pub(super) fn gateway_http(matcher: &HttpGatewayRouteMatch) -> Match {
    Match {
        path: path(matcher.prefix.as_ref(), matcher.path.as_ref()),
        headers: headers(matcher.headers.as_deref(), matcher.method),
        query: query(matcher.query_parameters.as_deref()),
        grpc: false,
    }
}

fn path(prefix: Option<&String>, path: Option<&matching::PathMatch>) -> PathMatch {
    let (exact, regex) = path.map_or((None, None), |path| {
        (path.exact.as_ref(), path.regex.as_ref())
    });
    match (prefix, exact, regex) {
        (Some(prefix), _, _) => PathMatch::Prefix(prefix.clone()),
        (None, Some(exact), _) => PathMatch::Exact(exact.clone()),
        (None, None, Some(regex)) => PathMatch::Regex(regex.clone()),
        (None, None, None) => PathMatch::Prefix("/".into()),
    }
}

fn headers(given: Option<&[matching::HeaderMatch]>, method: Option<Method>) -> Vec<HeaderMatch> {
    let method = method.map(|method| exact_header(":method", method.as_str()));
    let given = given.unwrap_or_default().iter().map(header);
    given.chain(method).collect()
}

fn exact_header(name: &str, value: &str) -> HeaderMatch {
    HeaderMatch {
        name: name.into(),
        value: ValueMatch::Exact(value.into()),
        invert: false,
    }
}

fn query(given: Option<&[matching::QueryMatch]>) -> Vec<(String, Option<String>)> {
    given
        .unwrap_or_default()
        .iter()
        .map(|query| {
            let value = query.matcher.as_ref().and_then(|m| m.exact.clone());
            (query.name.clone(), value)
        })
        .collect()
}

pub(super) fn grpc(matcher: &GrpcRouteMatch) -> Match {
    calls(
        matcher.service_name.as_deref(),
        matcher.method_name.as_deref(),
        matcher.metadata.as_deref(),
    )
}

/// The host is left out: see [`super::gateway`].
pub(super) fn gateway_grpc(matcher: &GrpcGatewayRouteMatch) -> Match {
    calls(
        matcher.service_name.as_deref(),
        None,
        matcher.metadata.as_deref(),
    )
}

fn calls(
    service: Option<&str>,
    method: Option<&str>,
    metadata: Option<&[matching::HeaderMatch]>,
) -> Match {
    let path = match (service, method) {
        (Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}")),
        (Some(service), None) => PathMatch::Prefix(format!("/{service}/")),
        (None, _) => PathMatch::Prefix("/".into()),
    };
    Match {
        path,
        headers: headers(metadata, None),
        query: Vec::new(),
        grpc: true,
    }
}

fn header(matcher: &matching::HeaderMatch) -> HeaderMatch {
    let value = match &matcher.matcher {
        None => ValueMatch::Present,
        Some(matching::ValueMatch::Exact(value)) => ValueMatch::Exact(value.clone()),
        Some(matching::ValueMatch::Prefix(value)) => ValueMatch::Prefix(value.clone()),
        Some(matching::ValueMatch::Suffix(value)) => ValueMatch::Suffix(value.clone()),
        Some(matching::ValueMatch::Regex(value)) => ValueMatch::Regex(value.clone()),
        Some(matching::ValueMatch::Range(range)) => ValueMatch::Range(range.start, range.end),
    };
    HeaderMatch {
        name: matcher.name.clone(),
        value,
        invert: matcher.invert.unwrap_or(false),
    }
}

/// The sort key of a route among its siblings: priority (0 first, absent last), then specificity (the more specific
/// first), then name, so that the order does not depend on the time of creation.
pub(super) fn precedence(priority: Option<u32>, matcher: &Match, name: &str) -> impl Ord + use<> {
    let (kind, length) = match &matcher.path {
        PathMatch::Exact(path) => (0, path.len()),
        PathMatch::Regex(regex) => (1, regex.len()),
        PathMatch::Prefix(prefix) => (2, prefix.len()),
    };
    let conditions = matcher.headers.len() + matcher.query.len();
    (
        priority.unwrap_or(u32::MAX),
        kind,
        Reverse(length),
        Reverse(conditions),
        name.to_owned(),
    )
}
