//! The spec of a route.

use super::{
    listener::{RequestTimeout, TcpTimeout},
    matching::{HeaderMatch, Method, PathMatch, QueryMatch, check_headers, check_queries},
    problem::{Checked, Problem, exactly_one, list, number, text},
    retry::RetryPolicy,
};
use serde::{Deserialize, Serialize};

/// A route of a router: exactly one of the four route members is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec {
    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcRoute>,
    /// For HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpRoute>,
    /// For HTTP/1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRoute>,
    /// 0 to 1000; 0 is looked at first, absent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// For TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_route: Option<TcpRoute>,
}

/// Where matched traffic goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteAction {
    /// 1 to 10 targets.
    pub weighted_targets: Vec<WeightedTarget>,
}

/// A node and its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedTarget {
    /// The node's name.
    pub virtual_node: String,
    /// 0 to 100, relative to the sum of all.
    pub weight: u32,
    /// Which of the node's listeners; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A route of HTTP/1.1 or HTTP/2 requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// Where they go.
    pub action: RouteAction,
    /// Which requests.
    #[serde(rename = "match")]
    pub matcher: HttpRouteMatch,
    /// When they are tried again; absent means the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// How long they may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<RequestTimeout>,
}

/// Which HTTP requests: all given members must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// 1 to 10 headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HeaderMatch>>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The router's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What the path begins with.
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
#[serde(rename_all = "camelCase")]
pub struct GrpcRoute {
    /// Where they go.
    pub action: RouteAction,
    /// Which calls.
    #[serde(rename = "match")]
    pub matcher: GrpcRouteMatch,
    /// When they are tried again; absent means the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// How long they may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<RequestTimeout>,
}

/// Which gRPC calls: all given members must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteMatch {
    /// 1 to 10 entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<HeaderMatch>>,
    /// Needs `service_name`; 1 to 50 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_name: Option<String>,
    /// The router's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The fully qualified service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
}

/// A route of TCP connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRoute {
    /// Where they go.
    pub action: RouteAction,
    /// Which connections; absent means all.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matcher: Option<TcpRouteMatch>,
    /// How long they may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TcpTimeout>,
}

/// Which TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRouteMatch {
    /// The router's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl RouteSpec {
    /// The name of the given route member and its action.
    pub fn action(&self) -> Option<(&'static str, &RouteAction)> {
        None.or(self
            .http_route
            .as_ref()
            .map(|route| ("httpRoute", &route.action)))
            .or(self
                .http2_route
                .as_ref()
                .map(|route| ("http2Route", &route.action)))
            .or(self
                .grpc_route
                .as_ref()
                .map(|route| ("grpcRoute", &route.action)))
            .or(self
                .tcp_route
                .as_ref()
                .map(|route| ("tcpRoute", &route.action)))
    }

    /// The router's port that the route is for, when it names one.
    pub fn match_port(&self) -> Option<u16> {
        let http = self.http_route.as_ref().or(self.http2_route.as_ref());
        http.and_then(|route| route.matcher.port)
            .or(self
                .grpc_route
                .as_ref()
                .and_then(|route| route.matcher.port))
            .or(self
                .tcp_route
                .as_ref()
                .and_then(|route| route.matcher.as_ref()?.port))
    }

    pub(crate) fn check(&self) -> Checked {
        exactly_one(
            "spec",
            &[
                ("grpcRoute", self.grpc_route.is_some()),
                ("http2Route", self.http2_route.is_some()),
                ("httpRoute", self.http_route.is_some()),
                ("tcpRoute", self.tcp_route.is_some()),
            ],
        )?;
        if let Some(priority) = self.priority {
            number("spec.priority", priority, 0..=1000)?;
        }
        if let Some((member, action)) = self.action() {
            action.check(&format!("spec.{member}.action"))?;
            if let Some(port) = self.match_port() {
                number(&format!("spec.{member}.match.port"), port, 1..=u16::MAX)?;
            }
        }
        let http = self
            .http_route
            .as_ref()
            .map(|route| ("spec.httpRoute", route));
        if let Some((at, route)) = http.or(self
            .http2_route
            .as_ref()
            .map(|route| ("spec.http2Route", route)))
        {
            route.matcher.check(&format!("{at}.match"))?;
            check_retry(at, route.retry_policy.as_ref())?;
        }
        if let Some(route) = &self.grpc_route {
            route.matcher.check("spec.grpcRoute.match")?;
            check_retry("spec.grpcRoute", route.retry_policy.as_ref())?;
        }
        Ok(())
    }
}

fn check_retry(at: &str, policy: Option<&RetryPolicy>) -> Checked {
    policy.map_or(Ok(()), |policy| policy.check(&format!("{at}.retryPolicy")))
}

impl RouteAction {
    fn check(&self, at: &str) -> Checked {
        let at = format!("{at}.weightedTargets");
        list(&at, &self.weighted_targets, 1..=10)?;
        for (i, target) in self.weighted_targets.iter().enumerate() {
            text(
                &format!("{at}[{i}].virtualNode"),
                &target.virtual_node,
                1..=255,
            )?;
            number(&format!("{at}[{i}].weight"), target.weight, 0..=100)?;
            if let Some(port) = target.port {
                number(&format!("{at}[{i}].port"), port, 1..=u16::MAX)?;
            }
        }
        let total: u32 = self.weighted_targets.iter().map(|t| t.weight).sum();
        if total > 100 {
            let message = format!("the weights add up to {total}, allowed are 100");
            return Err(Problem::new(at, message));
        }
        Ok(())
    }
}

impl HttpRouteMatch {
    fn check(&self, at: &str) -> Checked {
        // A port alone matches every path.
        if self.port.is_none() || (self.prefix.is_some() && self.path.is_some()) {
            exactly_one(
                at,
                &[
                    ("prefix", self.prefix.is_some()),
                    ("path", self.path.is_some()),
                ],
            )?;
        }
        if let Some(prefix) = &self.prefix
            && !prefix.starts_with('/')
        {
            return Err(Problem::new(format!("{at}.prefix"), "must start with /"));
        }
        if let Some(path) = &self.path {
            path.check(&format!("{at}.path"))?;
        }
        check_headers(&format!("{at}.headers"), self.headers.as_deref())?;
        check_queries(
            &format!("{at}.queryParameters"),
            self.query_parameters.as_deref(),
        )
    }
}

impl GrpcRouteMatch {
    fn check(&self, at: &str) -> Checked {
        check_headers(&format!("{at}.metadata"), self.metadata.as_deref())?;
        let Some(method) = &self.method_name else {
            return Ok(());
        };
        text(&format!("{at}.methodName"), method, 1..=50)?;
        if self.service_name.is_some() {
            return Ok(());
        }
        Err(Problem::new(
            format!("{at}.methodName"),
            "needs serviceName",
        ))
    }
}
