//! `VirtualRouter`: ports that clients dial, and the routes behind them.

use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};
use super::matching::check_http;
use super::resource::kind;
use super::virtual_node::check_target;
use super::{
    Duration, Header, HttpMethod, HttpScheme, HttpTimeout, MeshRef, PathMatch, PortMapping,
    QueryParameter, Reference, TcpTimeout, VirtualRouterStatus,
};

kind!(
    /// A router with all of its routes.
    VirtualRouter,
    VirtualRouterSpec,
    VirtualRouterStatus,
    NamespaceResourceScope
);

/// What a virtual router is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualRouterSpec {
    /// Name in the mesh API; by default `<name>_<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// The ports clients dial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<RouterListener>>,
    /// The routes; all that the router has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl VirtualRouterSpec {
    /// The routes, none if absent.
    pub fn routes(&self) -> &[Route] {
        self.routes.as_deref().unwrap_or_default()
    }
}

/// One port clients dial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterListener {
    /// The port and what is spoken on it.
    pub port_mapping: PortMapping,
}

/// A route: which requests, and where to. Exactly one of the four types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Name, unique in the router.
    pub name: String,
    /// 0 to 1000; the lowest is tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcRoute>,
    /// For HTTP/1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRoute>,
    /// For HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpRoute>,
    /// For TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_route: Option<TcpRoute>,
}

/// A route for HTTP/1 or HTTP/2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// Which requests.
    #[serde(rename = "match")]
    pub route_match: HttpRouteMatch,
    /// Where to.
    pub action: RouteAction,
    /// What to do when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HttpTimeout>,
}

/// Which HTTP requests a route is for: a prefix or a path, and what else must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// Beginning of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Headers, 1 to 10; all must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<Header>>,
    /// Query parameters, 1 to 10; all must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameters: Option<Vec<QueryParameter>>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// The scheme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<HttpScheme>,
    /// The router's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A route for gRPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRoute {
    /// Which calls.
    #[serde(rename = "match")]
    pub route_match: GrpcRouteMatch,
    /// Where to.
    pub action: RouteAction,
    /// What to do when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HttpTimeout>,
}

/// Which gRPC calls a route is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteMatch {
    /// Full name of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Name of the method, 1 to 50 characters; needs the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_name: Option<String>,
    /// Metadata, 1 to 10; all must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<Header>>,
    /// The router's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A route for TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRoute {
    /// Which connections.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub route_match: Option<TcpRouteMatch>,
    /// Where to.
    pub action: RouteAction,
    /// How long it may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TcpTimeout>,
}

/// Which connections a TCP route is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRouteMatch {
    /// The router's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteAction {
    /// 1 to 10 virtual nodes.
    pub weighted_targets: Vec<WeightedTarget>,
}

/// A virtual node and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedTarget {
    /// A node of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_node_ref: Option<Reference>,
    /// One of another cluster or account.
    #[serde(
        rename = "virtualNodeARN",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub virtual_node_arn: Option<String>,
    /// 0 to 100, relative to the other targets.
    pub weight: i64,
    /// The node's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Check for RouteAction {
    fn check(&self, checker: &mut Checker) {
        checker.items("weightedTargets", Some(&self.weighted_targets), 1, 10);
        checker.each(
            "weightedTargets",
            &self.weighted_targets,
            |checker, target| {
                check_target(
                    checker,
                    "virtualNode",
                    target.virtual_node_ref.as_ref(),
                    target.virtual_node_arn.as_ref(),
                );
                checker.range("weight", target.weight, 0, 100);
            },
        );
        let weights = || self.weighted_targets.iter().map(|target| target.weight);
        let total = weights().fold(0, i64::saturating_add);
        // A weight that is wrong by itself is told already.
        if total > 100 && weights().all(|weight| (0..=100).contains(&weight)) {
            checker.deny(
                "weightedTargets",
                format!("the weights add up to {total}; at most 100 are allowed"),
            );
        }
    }
}

/// What to do when a request fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// How often, at least 0.
    pub max_retries: i64,
    /// How long each attempt may take, the first included.
    pub per_retry_timeout: Duration,
    /// HTTP failures that are tried again, 1 to 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_retry_events: Option<Vec<HttpRetryEvent>>,
    /// TCP failures that are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_retry_events: Option<Vec<TcpRetryEvent>>,
    /// gRPC failures that are tried again, 1 to 5; only in a gRPC route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_retry_events: Option<Vec<GrpcRetryEvent>>,
}

impl Check for RetryPolicy {
    fn check(&self, checker: &mut Checker) {
        checker.range("maxRetries", self.max_retries, 0, i64::MAX);
        checker.field("perRetryTimeout", &self.per_retry_timeout);
        checker.items("httpRetryEvents", self.http_retry_events.as_ref(), 1, 25);
        checker.items("tcpRetryEvents", self.tcp_retry_events.as_ref(), 1, 1);
        checker.items("grpcRetryEvents", self.grpc_retry_events.as_ref(), 1, 5);
    }
}

/// An HTTP failure that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpRetryEvent {
    /// A 5xx status.
    ServerError,
    /// 502, 503 or 504.
    GatewayError,
    /// 409.
    ClientError,
    /// A refused stream.
    StreamError,
}

/// A TCP failure that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpRetryEvent {
    /// The connection could not be made.
    ConnectionError,
}

/// A gRPC status that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrpcRetryEvent {
    /// CANCELLED.
    Cancelled,
    /// DEADLINE_EXCEEDED.
    DeadlineExceeded,
    /// INTERNAL.
    Internal,
    /// RESOURCE_EXHAUSTED.
    ResourceExhausted,
    /// UNAVAILABLE.
    Unavailable,
}

impl Check for HttpRoute {
    fn check(&self, checker: &mut Checker) {
        checker.within("match", |checker| {
            let route_match = &self.route_match;
            checker.exactly_one(&[
                ("prefix", route_match.prefix.is_some()),
                ("path", route_match.path.is_some()),
            ]);
            check_http(
                checker,
                route_match.path.as_ref(),
                route_match.headers.as_ref(),
                route_match.query_parameters.as_ref(),
            );
        });
        checker.field("action", &self.action);
        checker.field("retryPolicy", &self.retry_policy);
        if self
            .retry_policy
            .as_ref()
            .is_some_and(|policy| policy.grpc_retry_events.is_some())
        {
            checker.within("retryPolicy", |checker| {
                checker.deny("grpcRetryEvents", "belongs to a grpcRoute; remove it here");
            });
        }
        checker.field("timeout", &self.timeout);
    }
}

impl Check for GrpcRoute {
    fn check(&self, checker: &mut Checker) {
        checker.within("match", |checker| {
            let route_match = &self.route_match;
            checker.optional_length("methodName", route_match.method_name.as_ref(), 1, 50);
            if route_match.method_name.is_some() && route_match.service_name.is_none() {
                checker.deny("methodName", "needs serviceName beside it");
            }
            checker.items("metadata", route_match.metadata.as_ref(), 1, 10);
            checker.field("metadata", &route_match.metadata);
        });
        checker.field("action", &self.action);
        checker.field("retryPolicy", &self.retry_policy);
        checker.field("timeout", &self.timeout);
    }
}

impl Check for TcpRoute {
    fn check(&self, checker: &mut Checker) {
        checker.field("action", &self.action);
        checker.field("timeout", &self.timeout);
    }
}

impl Check for Route {
    fn check(&self, checker: &mut Checker) {
        checker.length("name", &self.name, 1, 255);
        if let Some(priority) = self.priority {
            checker.range("priority", priority, 0, 1000);
        }
        checker.exactly_one(&[
            ("grpcRoute", self.grpc_route.is_some()),
            ("httpRoute", self.http_route.is_some()),
            ("http2Route", self.http2_route.is_some()),
            ("tcpRoute", self.tcp_route.is_some()),
        ]);
        checker.field("grpcRoute", &self.grpc_route);
        checker.field("httpRoute", &self.http_route);
        checker.field("http2Route", &self.http2_route);
        checker.field("tcpRoute", &self.tcp_route);
    }
}

impl Check for VirtualRouterSpec {
    fn check(&self, checker: &mut Checker) {
        checker.items("listeners", self.listeners.as_ref(), 1, usize::MAX);
        let listeners = self.listeners.as_deref().unwrap_or_default();
        checker.each("listeners", listeners, |checker, listener| {
            checker.field("portMapping", &listener.port_mapping)
        });
        checker.field("routes", &self.routes);
    }
}
