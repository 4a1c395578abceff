//! Matches of routes, and the order in which routes are tried.

use crate::plan::{HeaderMatch, Match, PathMatch, ValueMatch};
use std::cmp::Reverse;
use tombolo_model::mesh::spec::{
    matching,
    route::{GrpcRouteMatch, HttpRouteMatch, Scheme},
};

pub(super) fn http(matcher: &HttpRouteMatch) -> Match {
    let path = match (&matcher.prefix, &matcher.path) {
        (Some(prefix), _) => PathMatch::Prefix(prefix.clone()),
        (
            None,
            Some(matching::PathMatch {
                exact: Some(path), ..
            }),
        ) => PathMatch::Exact(path.clone()),
        (
            None,
            Some(matching::PathMatch {
                regex: Some(regex), ..
            }),
        ) => PathMatch::Regex(regex.clone()),
        (None, _) => PathMatch::Prefix("/".into()),
    };
    let mut headers: Vec<HeaderMatch> = matcher.headers.iter().flatten().map(header).collect();
    let mut pseudo = |name: &str, value: &str| {
        headers.push(HeaderMatch {
            name: name.into(),
            value: ValueMatch::Exact(value.into()),
            invert: false,
        });
    };
    if let Some(method) = matcher.method {
        pseudo(":method", method.word());
    }
    if let Some(scheme) = matcher.scheme {
        pseudo(
            ":scheme",
            if scheme == Scheme::Https {
                "https"
            } else {
                "http"
            },
        );
    }
    let query = matcher
        .query_parameters
        .iter()
        .flatten()
        .map(|query| {
            (
                query.name.clone(),
                query.matcher.as_ref().and_then(|m| m.exact.clone()),
            )
        })
        .collect();
    Match {
        path,
        headers,
        query,
        grpc: false,
    }
}

pub(super) fn grpc(matcher: &GrpcRouteMatch) -> Match {
    let path = match (&matcher.service_name, &matcher.method_name) {
        (Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}")),
        (Some(service), None) => PathMatch::Prefix(format!("/{service}/")),
        (None, _) => PathMatch::Prefix("/".into()),
    };
    let headers = matcher.metadata.iter().flatten().map(header).collect();
    Match {
        path,
        headers,
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

/// The place of a route among its siblings: by priority (0 first, absent last), then the more specific
/// first, then by name so that the order does not depend on the time of creation.
pub(super) fn order(priority: Option<u32>, matcher: &Match, name: &str) -> impl Ord + use<> {
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
