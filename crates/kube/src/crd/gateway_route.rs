//! `GatewayRoute`: what a gateway does with a request that enters.

use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};
use super::matching::check_http;
use super::resource::kind;
use super::virtual_node::check_target;
use super::{
    GatewayRouteStatus, Header, HttpMethod, MeshRef, PathMatch, QueryParameter, Reference,
    VirtualGatewayRef,
};

kind!(
    /// A route from a gateway to a virtual service.
    GatewayRoute,
    GatewayRouteSpec,
    GatewayRouteStatus,
    NamespaceResourceScope
);

/// What a gateway route is. Exactly one of the three types.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteSpec {
    /// Name in the mesh API; by default `<name>_<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// 0 to 1000; the lowest is tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcGatewayRoute>,
    /// For HTTP/1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpGatewayRoute>,
    /// For HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpGatewayRoute>,
    /// Its gateway; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_gateway_ref: Option<VirtualGatewayRef>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

/// A gateway route for HTTP/1 or HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGatewayRoute {
    /// Which requests.
    #[serde(rename = "match")]
    pub route_match: HttpGatewayMatch,
    /// Where to, and how they are rewritten.
    pub action: HttpGatewayAction,
}

/// Which HTTP requests a gateway route is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGatewayMatch {
    /// Beginning of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<GatewayHostnameMatch>,
    /// Headers, 1 to 10; all must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<Header>>,
    /// Query parameters, 1 to 10; all must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameters: Option<Vec<QueryParameter>>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// The gateway's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// How a host is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayHostnameMatch {
    /// The whole name, 1 to 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Its end, 1 to 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

impl Check for GatewayHostnameMatch {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("exact", self.exact.is_some()),
            ("suffix", self.suffix.is_some()),
        ]);
        checker.optional_length("exact", self.exact.as_ref(), 1, 253);
        checker.optional_length("suffix", self.suffix.as_ref(), 1, 253);
    }
}

/// Where HTTP requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGatewayAction {
    /// The virtual service.
    pub target: GatewayRouteTarget,
    /// How requests are rewritten on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<HttpGatewayRewrite>,
}

/// The virtual service that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteTarget {
    /// The service.
    pub virtual_service: GatewayRouteVirtualService,
    /// Its port; needed when its provider has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A virtual service: by reference or by ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteVirtualService {
    /// A service of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_service_ref: Option<Reference>,
    /// One of another cluster or account.
    #[serde(
        rename = "virtualServiceARN",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub virtual_service_arn: Option<String>,
}

impl Check for GatewayRouteTarget {
    fn check(&self, checker: &mut Checker) {
        checker.within("virtualService", |checker| {
            let service = &self.virtual_service;
            check_target(
                checker,
                "virtualService",
                service.virtual_service_ref.as_ref(),
                service.virtual_service_arn.as_ref(),
            );
        });
    }
}

/// How HTTP requests are rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGatewayRewrite {
    /// The matched prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<GatewayPrefixRewrite>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<GatewayPathRewrite>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<GatewayHostnameRewrite>,
}

/// How the matched prefix is rewritten: to `/`, not at all, or to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayPrefixRewrite {
    /// Whether it becomes `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_prefix: Option<DefaultSwitch>,
    /// What it becomes, 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What the path becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPathRewrite {
    /// The whole path, 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
}

/// Whether the host becomes the name of the virtual service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayHostnameRewrite {
    /// Whether it does; absent means yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_target_hostname: Option<DefaultSwitch>,
}

/// Whether a default rewrite happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DefaultSwitch {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
}

/// A gateway route for gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcGatewayRoute {
    /// Which calls.
    #[serde(rename = "match")]
    pub route_match: GrpcGatewayMatch,
    /// Where to.
    pub action: GrpcGatewayAction,
}

/// Which gRPC calls a gateway route is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcGatewayMatch {
    /// Full name of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<GatewayHostnameMatch>,
    /// Metadata, 1 to 10; all must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<Header>>,
    /// The gateway's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Where gRPC calls go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcGatewayAction {
    /// The virtual service.
    pub target: GatewayRouteTarget,
    /// How calls are rewritten on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<GrpcGatewayRewrite>,
}

/// How gRPC calls are rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcGatewayRewrite {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<GatewayHostnameRewrite>,
}

impl Check for HttpGatewayRewrite {
    fn check(&self, checker: &mut Checker) {
        if self.prefix.is_none() && self.path.is_none() && self.hostname.is_none() {
            checker.deny_here("is empty; give prefix, path or hostname, or leave rewrite out");
        }
        checker.at_most_one(&[
            ("prefix", self.prefix.is_some()),
            ("path", self.path.is_some()),
        ]);
        if let Some(prefix) = &self.prefix {
            checker.within("prefix", |checker| {
                checker.exactly_one(&[
                    ("defaultPrefix", prefix.default_prefix.is_some()),
                    ("value", prefix.value.is_some()),
                ]);
                checker.optional_length("value", prefix.value.as_ref(), 1, 255);
                if let Some(value) = &prefix.value
                    && !(value.starts_with('/') && value.ends_with('/'))
                {
                    checker.deny("value", format!("{value:?} must start and end with /"));
                }
            });
        }
        if let Some(path) = &self.path {
            checker.within("path", |checker| match &path.exact {
                Some(exact) => checker.length("exact", exact, 1, 255),
                None => checker.deny("exact", "is required"),
            });
        }
    }
}

impl Check for HttpGatewayRoute {
    fn check(&self, checker: &mut Checker) {
        let rewrites_prefix = self
            .action
            .rewrite
            .as_ref()
            .and_then(|rewrite| rewrite.prefix.as_ref())
            .is_some();
        checker.within("match", |checker| {
            let route_match = &self.route_match;
            if route_match.prefix.is_none()
                && route_match.path.is_none()
                && route_match.hostname.is_none()
            {
                checker.deny_here("needs at least one of prefix, path and hostname");
            }
            checker.at_most_one(&[
                ("prefix", route_match.prefix.is_some()),
                ("path", route_match.path.is_some()),
            ]);
            if let Some(prefix) = &route_match.prefix
                && !prefix.starts_with('/')
            {
                checker.deny("prefix", format!("{prefix:?} must start with /"));
            }
            if rewrites_prefix && route_match.prefix.is_none() {
                checker.deny(
                    "prefix",
                    "is required, because the action rewrites the prefix",
                );
            }
            checker.field("hostname", &route_match.hostname);
            check_http(
                checker,
                route_match.path.as_ref(),
                route_match.headers.as_ref(),
                route_match.query_parameters.as_ref(),
            );
        });
        checker.within("action", |checker| {
            checker.field("target", &self.action.target);
            checker.field("rewrite", &self.action.rewrite);
        });
    }
}

impl Check for GrpcGatewayRoute {
    fn check(&self, checker: &mut Checker) {
        checker.within("match", |checker| {
            let route_match = &self.route_match;
            if route_match.service_name.is_none() && route_match.hostname.is_none() {
                checker.deny_here("needs serviceName or hostname");
            }
            checker.field("hostname", &route_match.hostname);
            checker.items("metadata", route_match.metadata.as_ref(), 1, 10);
            checker.field("metadata", &route_match.metadata);
        });
        checker.within("action", |checker| {
            checker.field("target", &self.action.target)
        });
    }
}

impl Check for GatewayRouteSpec {
    fn check(&self, checker: &mut Checker) {
        if let Some(priority) = self.priority {
            checker.range("priority", priority, 0, 1000);
        }
        checker.exactly_one(&[
            ("grpcRoute", self.grpc_route.is_some()),
            ("httpRoute", self.http_route.is_some()),
            ("http2Route", self.http2_route.is_some()),
        ]);
        checker.field("grpcRoute", &self.grpc_route);
        checker.field("httpRoute", &self.http_route);
        checker.field("http2Route", &self.http2_route);
    }
}
