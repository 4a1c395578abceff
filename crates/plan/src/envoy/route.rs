//! Route configurations: one for each inbound and outbound HTTP port.

use super::protobuf::{duration, limit, number, pack, yes};
use crate::plan::{
    Handler, HeaderMatch, Inbound, Match, PathMatch, Plan, Protocol, Retry, Route, Target, Timeout,
    ValueMatch, VirtualHost,
};
use tombolo_xds::{
    Resource,
    envoy::pb::envoy::{
        config::{
            core::v3::{DataSource, data_source::Specifier},
            route::v3::{
                self as route, DirectResponseAction, HeaderMatcher, QueryParameterMatcher,
                RetryPolicy, RouteAction, RouteConfiguration, RouteMatch, WeightedCluster,
                header_matcher::HeaderMatchSpecifier,
                query_parameter_matcher::QueryParameterMatchSpecifier,
                retry_policy::{RetryHostPredicate, retry_host_predicate},
                route::Action,
                route_action::ClusterSpecifier,
                route_match::{GrpcRouteMatchOptions, PathSpecifier},
                weighted_cluster::ClusterWeight,
            },
        },
        extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
        r#type::{
            matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
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
        matcher: Match {
            path: PathMatch::Prefix("/".into()),
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
        },
        targets: vec![Target {
            cluster: inbound.cluster.clone(),
            weight: 1,
        }],
        timeout: inbound.timeout,
        retry: None,
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
            route.timeout,
            route.retry.as_ref(),
        )),
        targets => Action::Route(forward(
            ClusterSpecifier::WeightedClusters(weighted(targets)),
            route.timeout,
            route.retry.as_ref(),
        )),
    };
    route::Route {
        name: route.name.clone(),
        r#match: Some(matcher(&route.matcher)),
        action: Some(action),
        ..Default::default()
    }
}

fn forward(to: ClusterSpecifier, timeout: Timeout, retry: Option<&Retry>) -> RouteAction {
    RouteAction {
        cluster_specifier: Some(to),
        timeout: limit(timeout.request),
        idle_timeout: limit(timeout.idle),
        retry_policy: retry.map(retry_policy),
        ..Default::default()
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
