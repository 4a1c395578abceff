//! The spec of a route.

use super::{
    declare::spec,
    listener::{RequestTimeout, TcpTimeout},
    matching::{
        HeaderMatch, MATCHERS, Method, PathMatch, QueryMatch, check_leading_slash, check_list,
    },
    references::References,
    retry::RetryPolicy,
};
use crate::{
    string_enum::string_enum,
    validation::{Bounded, Validate, Validator},
};
use std::ops::RangeInclusive;

spec! {
    /// A route of a router: exactly one of the four route members is given.
    pub struct RouteSpec<R> {
        /// For gRPC.
        grpc_route: Option<GrpcRoute<R>>,
        /// For HTTP/2.
        http2_route: Option<HttpRoute<R>>,
        /// For HTTP/1.1.
        http_route: Option<HttpRoute<R>>,
        /// 0 to 1000; 0 is matched first, absent last.
        priority: Option<u32> [PRIORITY],
        /// For TCP.
        tcp_route: Option<TcpRoute<R>>,
    }

    /// The targets of matched traffic.
    pub struct RouteAction<R> {
        /// 1 to 10 targets, whose weights add up to 100 at most.
        weighted_targets: Vec<R::WeightedTarget> [1..=10],
    }

    /// A virtual node and its weight.
    pub struct WeightedTarget {
        /// The node's name, 1 to 255 characters.
        virtual_node: String,
        /// 0 to 100, relative to the sum of all.
        weight: u32 [SHARE],
        /// The port of the node's listener; required if it has several.
        port: Option<u16>,
    }
}

impl Validate for WeightedTarget {
    fn validate(&self, validator: &mut Validator) {
        validator.length("virtualNode", &self.virtual_node, 1, 255);
        check_share(validator, self.weight, self.port);
    }
}

/// The rules of a target beside its reference.
pub fn check_share(validator: &mut Validator, weight: u32, port: Option<u16>) {
    validator.within("weight", |validator| weight.validate_in(validator, SHARE));
    validator.port("port", port);
}

/// The weight of a target, and the sum of all weights of a route.
pub const SHARE: RangeInclusive<i64> = 0..=MAX_WEIGHT;
const MAX_WEIGHT: i64 = 100;

spec! {
    /// A route of HTTP/1.1 or HTTP/2 requests.
    pub struct HttpRoute<R> {
        /// Weighted targets.
        action: RouteAction<R>,
        /// The requests that it applies to.
        matcher as "match": HttpRouteMatch<R>,
        /// Absent means the default policy.
        retry_policy: Option<RetryPolicy>,
        /// Absent means 15 s a request and 300 s idle.
        timeout: Option<RequestTimeout>,
    }

    /// The conditions on HTTP requests; all given members must match.
    pub struct HttpRouteMatch<R> {
        /// 1 to 10 headers.
        headers: Option<Vec<HeaderMatch<R>>> [MATCHERS],
        /// The method.
        method: Option<Method>,
        /// The whole path.
        path: Option<PathMatch>,
        /// The router's port; needed when it has several.
        port: Option<u16>,
        /// The prefix of the path. With neither `prefix` nor `path`, `port` is required, and every path matches.
        prefix: Option<String>,
        /// 1 to 10 parameters.
        query_parameters: Option<Vec<QueryMatch>> [MATCHERS],
        /// The scheme.
        scheme: Option<Scheme>,
    }
}

string_enum! {
    /// The scheme of a request.
    #[allow(missing_docs)]
    pub enum Scheme {
        Http = "http",
        Https = "https",
    }
}

spec! {
    /// A route of gRPC calls.
    pub struct GrpcRoute<R>: Validate {
        /// Weighted targets.
        action: RouteAction<R>,
        /// The calls that it applies to.
        matcher as "match": GrpcRouteMatch<R>,
        /// Absent means the default policy.
        retry_policy: Option<RetryPolicy>,
        /// Absent means 15 s a request and 300 s idle.
        timeout: Option<RequestTimeout>,
    }

    /// The conditions on gRPC calls; all given members must match.
    pub struct GrpcRouteMatch<R> {
        /// 1 to 10 entries.
        metadata: Option<Vec<HeaderMatch<R>>> [MATCHERS],
        /// Needs `service_name`; 1 to 50 characters.
        method_name: Option<String> [1..=50],
        /// The router's port; needed when it has several.
        port: Option<u16>,
        /// The fully qualified service.
        service_name: Option<String>,
    }

    /// A route of TCP connections.
    pub struct TcpRoute<R>: Validate {
        /// Weighted targets.
        action: RouteAction<R>,
        /// The connections that it applies to; absent means all.
        matcher as "match": Option<TcpRouteMatch>,
        /// Absent means 300 s idle.
        timeout: Option<TcpTimeout>,
    }

    /// The conditions on TCP connections.
    #[derive(Copy, Default)]
    pub struct TcpRouteMatch: Validate {
        /// The router's port; needed when it has several.
        port: Option<u16> [1..=65535],
    }
}

impl<R: References> RouteSpec<R> {
    /// The name of the route member that is given, and its action.
    pub fn action(&self) -> Option<(&'static str, &RouteAction<R>)> {
        let http = [
            ("httpRoute", &self.http_route),
            ("http2Route", &self.http2_route),
        ];
        http.into_iter()
            .find_map(|(member, route)| Some((member, &route.as_ref()?.action)))
            .or_else(|| Some(("grpcRoute", &self.grpc_route.as_ref()?.action)))
            .or_else(|| Some(("tcpRoute", &self.tcp_route.as_ref()?.action)))
    }

    /// The targets; none without a route member.
    pub fn weighted_targets(&self) -> &[R::WeightedTarget] {
        self.action()
            .map_or(&[], |(_, action)| &action.weighted_targets)
    }

    /// The port of the router for which the route is, if it names one.
    pub fn match_port(&self) -> Option<u16> {
        let http = self.http_route.as_ref().or(self.http2_route.as_ref());
        http.and_then(|route| route.matcher.port)
            .or_else(|| self.grpc_route.as_ref()?.matcher.port)
            .or_else(|| self.tcp_route.as_ref()?.matcher?.port)
    }
}

/// The priority of a route or gateway route.
pub const PRIORITY: RangeInclusive<i64> = 0..=1000;

pub(super) fn check_priority(validator: &mut Validator, priority: Option<u32>) {
    validator.within("priority", |validator| {
        priority.validate_in(validator, PRIORITY);
    });
}

impl<R: References> Validate for RouteSpec<R> {
    fn validate(&self, validator: &mut Validator) {
        check_priority(validator, self.priority);
        validator.exactly_one(&[
            ("grpcRoute", self.grpc_route.is_some()),
            ("httpRoute", self.http_route.is_some()),
            ("http2Route", self.http2_route.is_some()),
            ("tcpRoute", self.tcp_route.is_some()),
        ]);
        validator.field("grpcRoute", &self.grpc_route);
        validator.field("httpRoute", &self.http_route);
        validator.field("http2Route", &self.http2_route);
        validator.field("tcpRoute", &self.tcp_route);
    }
}

impl<R: References> Validate for HttpRoute<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("match", &self.matcher);
        validator.field("action", &self.action);
        validator.field("retryPolicy", &self.retry_policy);
        let policy = self.retry_policy.as_ref();
        let has_grpc_events = policy.is_some_and(|policy| policy.grpc_retry_events.is_some());
        if validator.is_kubernetes() && has_grpc_events {
            let message = "belongs to a grpcRoute; remove it here";
            validator.deny_at("retryPolicy.grpcRetryEvents", message);
        }
        validator.field("timeout", &self.timeout);
    }
}

impl<R: References> Validate for RouteAction<R> {
    fn validate(&self, validator: &mut Validator) {
        let targets = &self.weighted_targets;
        validator.items("weightedTargets", Some(targets), 1, 10);
        validator.field("weightedTargets", targets);
        let weights = || targets.iter().map(|target| i64::from(R::weight(target)));
        let total: i64 = weights().sum();
        // A weight that is out of range is reported already.
        if total > MAX_WEIGHT && weights().all(|weight| weight <= MAX_WEIGHT) {
            validator.deny(
                "weightedTargets",
                format!("the weights add up to {total}; at most {MAX_WEIGHT} are allowed"),
            );
        }
    }
}

impl<R: References> Validate for HttpRouteMatch<R> {
    fn validate(&self, validator: &mut Validator) {
        let (prefix, path) = (self.prefix.is_some(), self.path.is_some());
        // A port alone matches every path.
        if prefix || path || self.port.is_none() {
            validator.exactly_one(&[("prefix", prefix), ("path", path)]);
        }
        check_leading_slash(validator, "prefix", self.prefix.as_ref());
        validator.field("path", &self.path);
        check_list(validator, "headers", self.headers.as_ref());
        check_list(validator, "queryParameters", self.query_parameters.as_ref());
        validator.port("port", self.port);
    }
}

impl<R: References> Validate for GrpcRouteMatch<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.optional_length("methodName", self.method_name.as_ref(), 1, 50);
        if self.method_name.is_some() && self.service_name.is_none() {
            validator.deny("methodName", "needs serviceName beside it");
        }
        check_list(validator, "metadata", self.metadata.as_ref());
        validator.port("port", self.port);
    }
}
