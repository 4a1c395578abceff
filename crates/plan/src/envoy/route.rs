//! Route configurations: one for each inbound and outbound HTTP port.

use super::protobuf::{duration, limit, number, pack, yes};
use crate::plan::{
    Changes, Handler, HeaderMatch, Inbound, Match, PathChange, PathMatch, Plan, Protocol, Retry,
    Route, Target, ValueMatch, VirtualHost,
};
use tombolo_xds::{
    Resource,
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
};

pub(super) fn inbound_name(port: u16) -> String {
    format!("rds_ingress_http_{port}")
}

pub(super) fn outbound_name(port: u16) -> String {
    format!("rds_egress_http_{port}")
}

pub(super) fn resources(plan: &Plan) -> Vec<Resource> {
    let inbound = plan
        .inbound
        .iter()
        .filter(|inbound| inbound.protocol != Protocol::Tcp)
        .map(inbound);
    let outbound = plan
        .outbound
        .iter()
        .filter_map(|outbound| match &outbound.handler {
            Handler::Http(hosts) => Some(configuration(
                &outbound_name(outbound.port),
                hosts.iter().map(virtual_host),
            )),
            Handler::Tcp(_) => None,
        });
    inbound.chain(outbound).collect()
}

/// Everything that reaches the port is for the application.
fn inbound(inbound: &Inbound) -> Resource {
    let route = Route {
        name: "local".into(),
        matcher: Match::everything(),
        targets: vec![Target {
            cluster: inbound.cluster.clone(),
            weight: 1,
        }],
        timeout: inbound.timeout,
        retry: None,
        changes: Changes::default(),
    };
    let host = VirtualHost {
        name: "local".into(),
        domains: vec!["*".into()],
        routes: vec![route],
    };
    configuration(
        &inbound_name(inbound.port),
        std::iter::once(virtual_host(&host)),
    )
}

/// A table for requests to any host.
pub(super) fn table(name: &str, routes: &[Route]) -> Resource {
    let host = VirtualHost {
        name: "all".into(),
        domains: vec!["*".into()],
        routes: routes.to_vec(),
    };
    configuration(name, std::iter::once(virtual_host(&host)))
}

fn configuration(name: &str, hosts: impl Iterator<Item = route::VirtualHost>) -> Resource {
    let message = RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts.collect(),
        validate_clusters: Some(Default::default()),
        ignore_port_in_host_matching: true,
        ..Default::default()
    };
    Resource::encode(name, &message)
}

fn virtual_host(host: &VirtualHost) -> route::VirtualHost {
    route::VirtualHost {
        name: host.name.clone(),
        domains: host.domains.clone(),
        routes: host.routes.iter().map(one_route).collect(),
        ..Default::default()
    }
}

fn one_route(route: &Route) -> route::Route {
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
        .changes
        .set
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
        request_headers_to_remove: route.changes.remove.clone(),
        ..Default::default()
    }
}

fn forward(to: ClusterSpecifier, route: &Route) -> RouteAction {
    let changes = &route.changes;
    RouteAction {
        cluster_specifier: Some(to),
        timeout: limit(route.timeout.request),
        idle_timeout: limit(route.timeout.idle),
        retry_policy: route.retry.as_ref().map(retry_policy),
        host_rewrite_specifier: changes
            .host
            .clone()
            .map(HostRewriteSpecifier::HostRewriteLiteral),
        regex_rewrite: changes.path.as_ref().map(path_change),
        ..Default::default()
    }
}

/// A prefix with the slash after it, if there is one: Envoy's own prefix rewrite would leave two.
fn path_change(change: &PathChange) -> RegexMatchAndSubstitute {
    let (pattern, to) = match change {
        PathChange::Prefix { from, to } => {
            let from = from.strip_suffix('/').unwrap_or(from);
            (format!("^{}/?", regex::escape(from)), to)
        }
        PathChange::Whole(to) => ("^.+$".to_owned(), to),
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
                weight: number(target.weight),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// A try avoids the hosts that the tries before it had (facts/walkthroughs.md §2.1).
fn retry_policy(retry: &Retry) -> RetryPolicy {
    RetryPolicy {
        retry_on: retry.on.join(","),
        num_retries: number(retry.attempts),
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
        case_sensitive: yes(),
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
