//! The spec of a gateway route.

use super::{
    matching::{
        HeaderMatch, HostnameMatch, Method, PathMatch, QueryMatch, check_leading_slash, check_list,
    },
    references::{Names, References},
};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// A route of a gateway: exactly one of the three route members is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct GatewayRouteSpec<R: References = Names> {
    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcGatewayRoute<R>>,
    /// For HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpGatewayRoute<R>>,
    /// For HTTP/1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpGatewayRoute<R>>,
    /// 0 to 1000; 0 is looked at first, absent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
}

/// Where a gateway sends matched requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct GatewayRouteTarget<R: References = Names> {
    /// The virtual service.
    pub virtual_service: R::GatewayRouteVirtualService,
    /// Which of its ports; needed when its provider has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl<R: References> Validate for GatewayRouteTarget<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("virtualService", &self.virtual_service);
        validator.port("port", self.port);
    }
}

/// A virtual service by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteVirtualService {
    /// 1 to 255 characters.
    pub virtual_service_name: String,
}

impl Validate for GatewayRouteVirtualService {
    fn validate(&self, validator: &mut Validator) {
        validator.length("virtualServiceName", &self.virtual_service_name, 1, 255);
    }
}

/// A gateway route of gRPC calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct GrpcGatewayRoute<R: References = Names> {
    /// Target and what goes with it.
    pub action: GrpcGatewayRouteAction<R>,
    /// Which calls.
    #[serde(rename = "match")]
    pub matcher: GrpcGatewayRouteMatch<R>,
}

/// Where gRPC calls go and what is changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct GrpcGatewayRouteAction<R: References = Names> {
    /// The virtual service.
    pub target: GatewayRouteTarget<R>,
    /// Changes to the request; absent means the defaults.
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

/// Which gRPC calls: a service or a host, and all other given members must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct GrpcGatewayRouteMatch<R: References = Names> {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostnameMatch>,
    /// 1 to 10 entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<HeaderMatch<R>>>,
    /// The gateway's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The fully qualified service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
}

/// A gateway route of HTTP requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct HttpGatewayRoute<R: References = Names> {
    /// Target and what goes with it.
    pub action: HttpGatewayRouteAction<R>,
    /// Which requests.
    #[serde(rename = "match")]
    pub matcher: HttpGatewayRouteMatch<R>,
}

/// Where HTTP requests go and what is changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct HttpGatewayRouteAction<R: References = Names> {
    /// The virtual service.
    pub target: GatewayRouteTarget<R>,
    /// Changes to the request; absent means the defaults.
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

impl Validate for PathRewrite {
    fn validate(&self, validator: &mut Validator) {
        match &self.exact {
            Some(path) => validator.length("exact", path, 1, 255),
            None if validator.is_kubernetes() => validator.deny("exact", "is required"),
            None => {}
        }
    }
}

/// A new prefix: not both members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrefixRewrite {
    /// Whether the matched prefix becomes `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_prefix: Option<Switch>,
    /// What it becomes; starts and ends with `/`, 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Validate for PrefixRewrite {
    fn validate(&self, validator: &mut Validator) {
        let members = [
            ("defaultPrefix", self.default_prefix.is_some()),
            ("value", self.value.is_some()),
        ];
        if validator.is_kubernetes() {
            validator.exactly_one(&members);
        } else {
            validator.not_both(members);
        }
        let Some(value) = &self.value else { return };
        validator.length("value", value, 1, 255);
        if !value.starts_with('/') || !value.ends_with('/') {
            validator.deny("value", format!("{value:?} must start and end with /"));
        }
    }
}

/// On or off.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Switch {
    Enabled,
    Disabled,
}

/// Which HTTP requests: a path, a host or a port, and all other given members must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct HttpGatewayRouteMatch<R: References = Names> {
    /// 1 to 10 headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HeaderMatch<R>>>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostnameMatch>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The gateway's port; needed when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What the path begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// 1 to 10 parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameters: Option<Vec<QueryMatch>>,
}

impl<R: References> GatewayRouteSpec<R> {
    /// The name of the given route member and its target.
    pub fn target(&self) -> Option<(&'static str, &GatewayRouteTarget<R>)> {
        let http = [
            ("httpRoute", &self.http_route),
            ("http2Route", &self.http2_route),
        ];
        http.into_iter()
            .find_map(|(member, route)| Some((member, &route.as_ref()?.action.target)))
            .or_else(|| Some(("grpcRoute", &self.grpc_route.as_ref()?.action.target)))
    }

    /// The gateway's port that the route is for, when it names one.
    pub fn match_port(&self) -> Option<u16> {
        let http = self.http_route.as_ref().or(self.http2_route.as_ref());
        http.and_then(|route| route.matcher.port)
            .or_else(|| self.grpc_route.as_ref()?.matcher.port)
    }
}

impl<R: References> Validate for GatewayRouteSpec<R> {
    fn validate(&self, validator: &mut Validator) {
        if let Some(priority) = self.priority {
            validator.range("priority", priority, 0, 1000);
        }
        validator.exactly_one(&[
            ("grpcRoute", self.grpc_route.is_some()),
            ("httpRoute", self.http_route.is_some()),
            ("http2Route", self.http2_route.is_some()),
        ]);
        validator.field("grpcRoute", &self.grpc_route);
        validator.field("httpRoute", &self.http_route);
        validator.field("http2Route", &self.http2_route);
    }
}

impl<R: References> Validate for GrpcGatewayRoute<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("match", &self.matcher);
        validator.within("action", |validator| {
            validator.field("target", &self.action.target);
        });
    }
}

impl<R: References> Validate for GrpcGatewayRouteMatch<R> {
    fn validate(&self, validator: &mut Validator) {
        if self.service_name.is_none() && self.hostname.is_none() {
            validator.deny_here("needs serviceName or hostname");
        }
        validator.field("hostname", &self.hostname);
        let reserved = ["aws.app-mesh", "aws.appmesh"];
        check_reserved(
            validator,
            "serviceName",
            self.service_name.as_ref(),
            reserved,
        );
        check_list(validator, "metadata", self.metadata.as_ref());
        validator.port("port", self.port);
    }
}

impl<R: References> Validate for HttpGatewayRoute<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("match", &self.matcher);
        let Some(rewrite) = &self.action.rewrite else {
            validator.within("action", |validator| {
                validator.field("target", &self.action.target);
            });
            return;
        };
        if validator.is_kubernetes() && rewrite.prefix.is_some() && self.matcher.prefix.is_none() {
            validator.within("match", |validator| {
                let message = "is required, because the action rewrites the prefix";
                validator.deny("prefix", message);
            });
        }
        validator.within("action", |validator| {
            validator.field("target", &self.action.target);
            validator.field("rewrite", rewrite);
            if rewrite.path.is_some() && self.matcher.path.is_none() {
                validator.within("rewrite", |validator| {
                    validator.deny("path", "needs a match on the path");
                });
            }
        });
    }
}

impl<R: References> Validate for HttpGatewayRouteMatch<R> {
    fn validate(&self, validator: &mut Validator) {
        let (prefix, path) = (self.prefix.is_some(), self.path.is_some());
        if !prefix && !path && self.hostname.is_none() && self.port.is_none() {
            validator.deny_here("needs at least one of prefix, path and hostname, or a port");
        }
        validator.not_both([("prefix", prefix), ("path", path)]);
        check_leading_slash(validator, "prefix", self.prefix.as_ref());
        let reserved = ["/aws-appmesh", "/aws-app-mesh"];
        check_reserved(validator, "prefix", self.prefix.as_ref(), reserved);
        validator.field("path", &self.path);
        validator.field("hostname", &self.hostname);
        check_list(validator, "headers", self.headers.as_ref());
        check_list(validator, "queryParameters", self.query_parameters.as_ref());
        validator.port("port", self.port);
    }
}

impl Validate for HttpGatewayRouteRewrite {
    fn validate(&self, validator: &mut Validator) {
        let (prefix, path) = (self.prefix.is_some(), self.path.is_some());
        if validator.is_kubernetes() && !prefix && !path && self.hostname.is_none() {
            let message = "is empty; give prefix, path or hostname, or leave rewrite out";
            validator.deny_here(message);
        }
        validator.not_both([("prefix", prefix), ("path", path)]);
        validator.field("path", &self.path);
        validator.field("prefix", &self.prefix);
    }
}

fn check_reserved(
    validator: &mut Validator,
    name: &'static str,
    text: Option<&String>,
    reserved: [&str; 2],
) {
    if text.is_some_and(|text| reserved.iter().any(|head| text.starts_with(head))) {
        validator.deny(name, "is reserved");
    }
}
