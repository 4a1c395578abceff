//! The spec of a gateway route.

use super::{
    matching::{
        HeaderMatch, HostnameMatch, Method, PathMatch, QueryMatch, check_headers, check_queries,
    },
    problem::{Checked, Problem, exactly_one, number, text},
};
use serde::{Deserialize, Serialize};

/// A route of a gateway: exactly one of the three route members is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteSpec {
    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcGatewayRoute>,
    /// For HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpGatewayRoute>,
    /// For HTTP/1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpGatewayRoute>,
    /// 0 to 1000; 0 is looked at first, absent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
}

/// Where a gateway sends matched requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteTarget {
    /// The virtual service.
    pub virtual_service: GatewayRouteVirtualService,
    /// Which of its ports; needed when its provider has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A virtual service by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteVirtualService {
    /// 1 to 255 characters.
    pub virtual_service_name: String,
}

/// A gateway route of gRPC calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcGatewayRoute {
    /// Where they go.
    pub action: GrpcGatewayRouteAction,
    /// Which calls.
    #[serde(rename = "match")]
    pub matcher: GrpcGatewayRouteMatch,
}

/// Where gRPC calls go and what is changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcGatewayRouteAction {
    /// Where.
    pub target: GatewayRouteTarget,
    /// What is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<GrpcGatewayRouteRewrite>,
}

/// What is changed in gRPC calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcGatewayRouteRewrite {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostnameRewrite>,
}

/// Which gRPC calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcGatewayRouteMatch {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostnameMatch>,
    /// 1 to 10 entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<HeaderMatch>>,
    /// The gateway's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The fully qualified service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
}

/// A gateway route of HTTP requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGatewayRoute {
    /// Where they go.
    pub action: HttpGatewayRouteAction,
    /// Which requests.
    #[serde(rename = "match")]
    pub matcher: HttpGatewayRouteMatch,
}

/// Where HTTP requests go and what is changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGatewayRouteAction {
    /// Where.
    pub target: GatewayRouteTarget,
    /// What is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<HttpGatewayRouteRewrite>,
}

/// What is changed in HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGatewayRouteRewrite {
    /// The host; absent means that it becomes the virtual service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostnameRewrite>,
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// The matched prefix; absent means that it becomes `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<PrefixRewrite>,
}

/// Whether the host becomes the virtual service's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostnameRewrite {
    /// Absent means enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_target_hostname: Option<Switch>,
}

/// A new path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRewrite {
    /// 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
}

/// A new prefix: not both members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrefixRewrite {
    /// Whether the matched prefix becomes `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_prefix: Option<Switch>,
    /// What it becomes; starts and ends with `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// On or off.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Switch {
    Enabled,
    Disabled,
}

/// Which HTTP requests: all given members must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGatewayRouteMatch {
    /// 1 to 10 headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HeaderMatch>>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostnameMatch>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The gateway's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What the path begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// 1 to 10 parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameters: Option<Vec<QueryMatch>>,
}

impl GatewayRouteSpec {
    /// The name of the given route member and its target.
    pub fn target(&self) -> Option<(&'static str, &GatewayRouteTarget)> {
        let http = [
            ("httpRoute", self.http_route.as_ref()),
            ("http2Route", self.http2_route.as_ref()),
        ];
        let http = http
            .into_iter()
            .find_map(|(member, route)| Some((member, &route?.action.target)));
        let grpc = self.grpc_route.as_ref();
        http.or(grpc.map(|route| ("grpcRoute", &route.action.target)))
    }

    /// The gateway's port that the route is for, when it names one.
    pub fn match_port(&self) -> Option<u16> {
        let http = self.http_route.as_ref().or(self.http2_route.as_ref());
        http.and_then(|route| route.matcher.port).or(self
            .grpc_route
            .as_ref()
            .and_then(|route| route.matcher.port))
    }

    pub(crate) fn check(&self) -> Checked {
        exactly_one(
            "spec",
            &[
                ("grpcRoute", self.grpc_route.is_some()),
                ("http2Route", self.http2_route.is_some()),
                ("httpRoute", self.http_route.is_some()),
            ],
        )?;
        if let Some(priority) = self.priority {
            number("spec.priority", priority, 0..=1000)?;
        }
        if let Some((member, target)) = self.target() {
            let at = format!("spec.{member}.action.target");
            let name = &target.virtual_service.virtual_service_name;
            text(
                &format!("{at}.virtualService.virtualServiceName"),
                name,
                1..=255,
            )?;
            if let Some(port) = target.port {
                number(&format!("{at}.port"), port, 1..=u16::MAX)?;
            }
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
            if let Some(rewrite) = &route.action.rewrite {
                rewrite.check(&format!("{at}.action.rewrite"), &route.matcher)?;
            }
        }
        if let Some(route) = &self.grpc_route {
            let at = "spec.grpcRoute.match";
            if route.matcher.service_name.is_none() && route.matcher.hostname.is_none() {
                return Err(Problem::new(at, "must have serviceName or hostname"));
            }
            if let Some(hostname) = &route.matcher.hostname {
                hostname.check(&format!("{at}.hostname"))?;
            }
            let service = route.matcher.service_name.as_deref();
            let reserved = ["aws.app-mesh", "aws.appmesh"];
            if service.is_some_and(|name| reserved.iter().any(|head| name.starts_with(head))) {
                return Err(Problem::new(format!("{at}.serviceName"), "is reserved"));
            }
            check_headers(&format!("{at}.metadata"), route.matcher.metadata.as_deref())?;
        }
        Ok(())
    }
}

impl HttpGatewayRouteMatch {
    fn check(&self, at: &str) -> Checked {
        if self.prefix.is_some() && self.path.is_some() {
            return Err(Problem::new(at, "must not have both prefix and path"));
        }
        if self.prefix.is_none()
            && self.path.is_none()
            && self.hostname.is_none()
            && self.port.is_none()
        {
            return Err(Problem::new(at, "must have prefix, path, hostname or port"));
        }
        if let Some(prefix) = &self.prefix {
            if !prefix.starts_with('/') {
                return Err(Problem::new(format!("{at}.prefix"), "must start with /"));
            }
            if prefix.starts_with("/aws-appmesh") || prefix.starts_with("/aws-app-mesh") {
                return Err(Problem::new(format!("{at}.prefix"), "is reserved"));
            }
        }
        if let Some(path) = &self.path {
            path.check(&format!("{at}.path"))?;
        }
        if let Some(hostname) = &self.hostname {
            hostname.check(&format!("{at}.hostname"))?;
        }
        check_headers(&format!("{at}.headers"), self.headers.as_deref())?;
        check_queries(
            &format!("{at}.queryParameters"),
            self.query_parameters.as_deref(),
        )
    }
}

impl HttpGatewayRouteRewrite {
    fn check(&self, at: &str, matcher: &HttpGatewayRouteMatch) -> Checked {
        if self.prefix.is_some() && self.path.is_some() {
            return Err(Problem::new(at, "must not have both prefix and path"));
        }
        if self.path.is_some() && matcher.path.is_none() {
            return Err(Problem::new(
                format!("{at}.path"),
                "needs a match on the path",
            ));
        }
        if let Some(path) = self.path.as_ref().and_then(|path| path.exact.as_ref()) {
            text(&format!("{at}.path.exact"), path, 1..=255)?;
        }
        let Some(prefix) = &self.prefix else {
            return Ok(());
        };
        let at = format!("{at}.prefix");
        if let Some(value) = &prefix.value {
            text(&format!("{at}.value"), value, 1..=255)?;
        }
        if prefix.default_prefix.is_some() && prefix.value.is_some() {
            return Err(Problem::new(
                at,
                "must not have both defaultPrefix and value",
            ));
        }
        match &prefix.value {
            Some(value) if !value.starts_with('/') || !value.ends_with('/') => Err(Problem::new(
                format!("{at}.value"),
                "must start and end with /",
            )),
            _ => Ok(()),
        }
    }
}
