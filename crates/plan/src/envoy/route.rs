//! Translates routes to route configurations: one for each inbound and outbound HTTP port.

use super::protobuf::{boolean, duration, origin, pack, timeout, uint32};
use crate::plan::{
    Handler, HeaderMatch, Inbound, Match, PathMatch, PathRewrite, Plan, Protocol, RequestRewrite,
    Retry, Route, SharedVirtualHost, Target, ValueMatch, VirtualHost,
};
use prost::Message;
use tombolo_xds::{
    Kind, Resource,
    envoy::pb::envoy::{
        config::{
            core::v3::{
                DataSource, HeaderValue, HeaderValueOption, data_source::Specifier,
                header_value_option::HeaderAppendAction,
            },
            route::v3::{
                self as route, DirectResponseAction, HeaderMatcher, QueryParameterMatcher,
                RetryPolicy, RouteAction, RouteConfiguration, RouteMatch, WeightedCluster,
                header_matcher::HeaderMatchSpecifier,
                query_parameter_matcher::QueryParameterMatchSpecifier,
                retry_policy::{RetryHostPredicate, retry_host_predicate},
                route::Action,
                route_action::{ClusterSpecifier, HostRewriteSpecifier},
                route_match::{GrpcRouteMatchOptions, PathSpecifier},
                weighted_cluster::ClusterWeight,
            },
        },
        extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
        r#type::{
            matcher::v3::{
                RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher::MatchPattern,
            },
            v3::Int64Range,
        },
    },
    resource::{EncodedFields, Reference},
    snapshot::Builder,
};

pub(super) fn inbound_name(port: u16) -> String {
    format!("rds_ingress_http_{port}")
}

pub(super) fn outbound_name(port: u16) -> String {
    format!("rds_egress_http_{port}")
}

/// The reference of a listener to a route configuration.
pub(super) fn reference(table: &str) -> Reference {
    Reference {
        kind: Kind::Route,
        name: table.into(),
    }
}

pub(super) fn update(previous: Option<&Plan>, plan: &Plan, snapshot: &mut Builder) {
    let before = previous.map_or(&[][..], |plan| &plan.inbound);
    for inbound in before {
        if !plan
            .inbound
            .iter()
            .any(|other| other.port == inbound.port && is_http(other))
        {
            snapshot.remove(Kind::Route, &inbound_name(inbound.port));
        }
    }
    for inbound in plan.inbound.iter().filter(|inbound| is_http(inbound)) {
        if !before.contains(inbound) {
            snapshot.insert(inbound_table(inbound));
        }
    }
    let mut before = previous.into_iter().flat_map(tables).peekable();
    for (port, hosts) in tables(plan) {
        while let Some((gone, _)) = before.next_if(|(other, _)| *other < port) {
            snapshot.remove(Kind::Route, &outbound_name(gone));
        }
        let other = before.next_if(|(other, _)| *other == port);
        if other.is_none_or(|(_, other)| other != hosts) {
            snapshot.insert(configuration(&outbound_name(port), hosts));
        }
    }
    for (gone, _) in before {
        snapshot.remove(Kind::Route, &outbound_name(gone));
    }
}

fn is_http(inbound: &Inbound) -> bool {
    inbound.protocol != Protocol::Tcp
}

/// The outbound HTTP ports and their virtual hosts, in the order of ports.
fn tables(plan: &Plan) -> impl Iterator<Item = (u16, &Vec<SharedVirtualHost>)> {
    plan.outbound
        .iter()
        .filter_map(|outbound| match &outbound.handler {
            Handler::Http(hosts) => Some((outbound.port, hosts)),
            Handler::Tcp(_) => None,
        })
}

/// The route configuration of an inbound port: every request goes to the application.
fn inbound_table(inbound: &Inbound) -> Resource {
    let route = Route {
        origin: None,
        name: "local".into(),
        matcher: Match::everything(),
        targets: vec![Target {
            cluster: inbound.cluster.clone(),
            weight: 1,
        }],
        timeout: inbound.timeout,
        retry: None,
        rewrite: RequestRewrite::default(),
    };
    let host = VirtualHost {
        origin: None,
        name: "local".into(),
        domains: vec!["*".into()],
        routes: vec![route],
    };
    configuration(&inbound_name(inbound.port), &[host.into()])
}

/// A route configuration with one virtual host, which matches any host.
pub(super) fn table(name: &str, routes: &[Route]) -> Resource {
    let host = VirtualHost {
        origin: None,
        name: "all".into(),
        domains: vec!["*".into()],
        routes: routes.to_vec(),
    };
    configuration(name, &[host.into()])
}

/// A route configuration of virtual hosts, whose encoded fields may be shared with other route configurations.
fn configuration(name: &str, hosts: &[SharedVirtualHost]) -> Resource {
    let head = RouteConfiguration {
        name: name.to_owned(),
        validate_clusters: Some(Default::default()),
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    let hosts: Vec<&EncodedFields> = hosts
        .iter()
        .map(|host| host.encoded(encoded_host))
        .collect();
    Resource::assemble(Kind::Route, name, &head.encode_to_vec(), &hosts, Vec::new())
}

/// The encoded field of one virtual host: a route configuration with this host only. Concatenated encoded messages are
/// merged by the decoder, and repeated fields are appended
/// (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
fn encoded_host(host: &VirtualHost) -> EncodedFields {
    let only = RouteConfiguration {
        virtual_hosts: vec![virtual_host(host)],
        ..Default::default()
    };
    EncodedFields::new(only.encode_to_vec())
}

fn virtual_host(host: &VirtualHost) -> route::VirtualHost {
    route::VirtualHost {
        name: host.name.clone(),
        domains: host.domains.clone(),
        routes: host.routes.iter().map(route_entry).collect(),
        metadata: host.origin.as_ref().map(origin),
        ..Default::default()
    }
}

fn route_entry(route: &Route) -> route::Route {
    let action = match route.targets.as_slice() {
        [] => Action::DirectResponse(DirectResponseAction {
            status: 503,
            body: Some(DataSource {
                specifier: Some(Specifier::InlineString("no healthy upstream".into())),
                ..Default::default()
            }),
            ..Default::default()
        }),
        [target] => Action::Route(forward(
            ClusterSpecifier::Cluster(target.cluster.to_string()),
            route,
        )),
        targets => Action::Route(forward(
            ClusterSpecifier::WeightedClusters(weighted(targets)),
            route,
        )),
    };
    let set = route
        .rewrite
        .set_headers
        .iter()
        .map(|(name, value)| HeaderValueOption {
            header: Some(HeaderValue {
                key: name.clone(),
                value: value.clone(),
                ..Default::default()
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..Default::default()
        });
    route::Route {
        name: route.name.clone(),
        r#match: Some(matcher(&route.matcher)),
        action: Some(action),
        request_headers_to_add: set.collect(),
        request_headers_to_remove: route.rewrite.remove_headers.clone(),
        metadata: route.origin.as_ref().map(origin),
        ..Default::default()
    }
}

fn forward(to: ClusterSpecifier, route: &Route) -> RouteAction {
    let rewrite = &route.rewrite;
    RouteAction {
        cluster_specifier: Some(to),
        timeout: timeout(route.timeout.request),
        idle_timeout: timeout(route.timeout.idle),
        retry_policy: route.retry.as_ref().map(retry_policy),
        host_rewrite_specifier: rewrite
            .host
            .clone()
            .map(HostRewriteSpecifier::HostRewriteLiteral),
        regex_rewrite: rewrite.path.as_ref().map(path_rewrite),
        ..Default::default()
    }
}

/// A rewrite of the path. A prefix is matched with the slash after it, if there is one: Envoy's `prefix_rewrite` would
/// leave two slashes.
fn path_rewrite(rewrite: &PathRewrite) -> RegexMatchAndSubstitute {
    let (pattern, to) = match rewrite {
        PathRewrite::Prefix { from, to } => {
            let from = from.strip_suffix('/').unwrap_or(from);
            (format!("^{}/?", regex::escape(from)), to)
        }
        PathRewrite::Full(to) => ("^.+$".to_owned(), to),
    };
    RegexMatchAndSubstitute {
        pattern: Some(regex_matcher(&pattern)),
        // In a substitution a backslash names a group.
        substitution: to.replace('\\', r"\\"),
    }
}

fn weighted(targets: &[Target]) -> WeightedCluster {
    WeightedCluster {
        clusters: targets
            .iter()
            .map(|target| ClusterWeight {
                name: target.cluster.to_string(),
                weight: uint32(target.weight),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// A retry policy under which a retry avoids the hosts of the tries before it (facts/walkthroughs.md §2.1).
fn retry_policy(retry: &Retry) -> RetryPolicy {
    RetryPolicy {
        retry_on: retry.on.join(","),
        num_retries: uint32(retry.attempts),
        per_try_timeout: retry.try_timeout.map(duration),
        retriable_status_codes: retry.statuses.clone(),
        host_selection_retry_max_attempts: 5,
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".into(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack(
                &PreviousHostsPredicate {},
            ))),
        }],
        ..Default::default()
    }
}

fn matcher(plan: &Match) -> RouteMatch {
    let path = match &plan.path {
        PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.clone()),
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(regex_matcher(regex)),
    };
    let query = plan.query.iter().map(|(name, value)| {
        let specifier = match value {
            Some(value) => QueryParameterMatchSpecifier::StringMatch(string(MatchPattern::Exact(
                value.clone(),
            ))),
            None => QueryParameterMatchSpecifier::PresentMatch(true),
        };
        QueryParameterMatcher {
            name: name.clone(),
            query_parameter_match_specifier: Some(specifier),
        }
    });
    RouteMatch {
        path_specifier: Some(path),
        case_sensitive: boolean(true),
        headers: plan.headers.iter().map(header).collect(),
        query_parameters: query.collect(),
        grpc: plan.grpc.then(GrpcRouteMatchOptions::default),
        ..Default::default()
    }
}

fn header(plan: &HeaderMatch) -> HeaderMatcher {
    let specifier = match &plan.value {
        ValueMatch::Present => HeaderMatchSpecifier::PresentMatch(true),
        ValueMatch::Range(start, end) => HeaderMatchSpecifier::RangeMatch(Int64Range {
            start: *start,
            end: *end,
        }),
        ValueMatch::Exact(value) => text(MatchPattern::Exact(value.clone())),
        ValueMatch::Prefix(value) => text(MatchPattern::Prefix(value.clone())),
        ValueMatch::Suffix(value) => text(MatchPattern::Suffix(value.clone())),
        ValueMatch::Regex(value) => text(MatchPattern::SafeRegex(regex_matcher(value))),
    };
    HeaderMatcher {
        name: plan.name.clone(),
        invert_match: plan.invert,
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

fn text(pattern: MatchPattern) -> HeaderMatchSpecifier {
    HeaderMatchSpecifier::StringMatch(string(pattern))
}

fn string(pattern: MatchPattern) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(pattern),
        ..Default::default()
    }
}

fn regex_matcher(regex: &str) -> RegexMatcher {
    RegexMatcher {
        regex: regex.to_owned(),
        ..Default::default()
    }
}
