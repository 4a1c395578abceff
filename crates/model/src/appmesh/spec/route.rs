//! The spec of a route.

use super::{
    listener::{RequestTimeout, TcpTimeout},
    matching::{HeaderMatch, Method, PathMatch, QueryMatch, check_leading_slash, check_list},
    references::{Names, References},
    retry::RetryPolicy,
};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// A route of a router: exactly one of the four route members is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct RouteSpec<R: References = Names> {
    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcRoute<R>>,
    /// For HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpRoute<R>>,
    /// For HTTP/1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRoute<R>>,
    /// 0 to 1000; 0 is looked at first, absent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// For TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_route: Option<TcpRoute<R>>,
}

/// Where matched traffic goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct RouteAction<R: References = Names> {
    /// 1 to 10 targets, whose weights add up to 100 at most.
    pub weighted_targets: Vec<R::WeightedTarget>,
}

/// A node and its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedTarget {
    /// The node's name, 1 to 255 characters.
    pub virtual_node: String,
    /// 0 to 100, relative to the sum of all.
    pub weight: u32,
    /// Which of the node's listeners; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Validate for WeightedTarget {
    fn validate(&self, validator: &mut Validator) {
        validator.length("virtualNode", &self.virtual_node, 1, 255);
        check_share(validator, self.weight, self.port);
    }
}

/// The rules of a target beside its reference.
pub fn check_share(validator: &mut Validator, weight: u32, port: Option<u16>) {
    validator.range("weight", weight, 0, MAX_WEIGHT);
    validator.port("port", port);
}

const MAX_WEIGHT: i64 = 100;

/// A route of HTTP/1.1 or HTTP/2 requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct HttpRoute<R: References = Names> {
    /// Weighted targets.
    pub action: RouteAction<R>,
    /// The requests it applies to.
    #[serde(rename = "match")]
    pub matcher: HttpRouteMatch<R>,
    /// When they are tried again; absent means the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// Absent means 15 s a request and 300 s idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<RequestTimeout>,
}

/// Which HTTP requests: all given members must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct HttpRouteMatch<R: References = Names> {
    /// 1 to 10 headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HeaderMatch<R>>>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The router's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What the path begins with. With neither `prefix` nor `path`, `port` is given, and every path matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// 1 to 10 parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameters: Option<Vec<QueryMatch>>,
    /// The scheme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
}

/// The scheme of a request.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    Https,
}

/// A route of gRPC calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct GrpcRoute<R: References = Names> {
    /// Weighted targets.
    pub action: RouteAction<R>,
    /// The calls it applies to.
    #[serde(rename = "match")]
    pub matcher: GrpcRouteMatch<R>,
    /// When they are tried again; absent means the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// Absent means 15 s a request and 300 s idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<RequestTimeout>,
}

/// Which gRPC calls: all given members must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct GrpcRouteMatch<R: References = Names> {
    /// 1 to 10 entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<HeaderMatch<R>>>,
    /// Needs `service_name`; 1 to 50 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_name: Option<String>,
    /// The router's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The fully qualified service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
}

/// A route of TCP connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct TcpRoute<R: References = Names> {
    /// Weighted targets.
    pub action: RouteAction<R>,
    /// Which connections; absent means all.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matcher: Option<TcpRouteMatch>,
    /// Idle timeout; absent means 300 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TcpTimeout>,
}

/// Which TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRouteMatch {
    /// The router's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl<R: References> RouteSpec<R> {
    /// The name of the given route member and its action.
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

    /// The router's port that the route is for, when it names one.
    pub fn match_port(&self) -> Option<u16> {
        let http = self.http_route.as_ref().or(self.http2_route.as_ref());
        http.and_then(|route| route.matcher.port)
            .or_else(|| self.grpc_route.as_ref()?.matcher.port)
            .or_else(|| self.tcp_route.as_ref()?.matcher?.port)
    }
}

impl<R: References> Validate for RouteSpec<R> {
    fn validate(&self, validator: &mut Validator) {
        if let Some(priority) = self.priority {
            validator.range("priority", priority, 0, 1000);
        }
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
        if validator.is_kubernetes()
            && policy.is_some_and(|policy| policy.grpc_retry_events.is_some())
        {
            validator.within("retryPolicy", |validator| {
                validator.deny("grpcRetryEvents", "belongs to a grpcRoute; remove it here");
            });
        }
        validator.field("timeout", &self.timeout);
    }
}

impl<R: References> Validate for GrpcRoute<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("match", &self.matcher);
        validator.field("action", &self.action);
        validator.field("retryPolicy", &self.retry_policy);
        validator.field("timeout", &self.timeout);
    }
}

impl<R: References> Validate for TcpRoute<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.within("match", |validator| {
            validator.port("port", self.matcher.and_then(|matcher| matcher.port));
        });
        validator.field("action", &self.action);
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
        // A weight that is wrong by itself is told already.
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
