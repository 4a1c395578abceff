//! The spec of a gateway route.

use super::{
    declare::spec,
    matching::{
        HeaderMatch, HostnameMatch, MATCHERS, Method, PathMatch, QueryMatch, check_leading_slash,
        check_list,
    },
    references::References,
    route::{PRIORITY, check_priority},
};
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};

spec! {
    /// A route of a gateway: exactly one of the three route members is given.
    pub struct GatewayRouteSpec<R> {
        /// For gRPC.
        grpc_route: Option<GrpcGatewayRoute<R>>,
        /// For HTTP/2.
        http2_route: Option<HttpGatewayRoute<R>>,
        /// For HTTP/1.1.
        http_route: Option<HttpGatewayRoute<R>>,
        /// 0 to 1000; 0 is matched first, absent last.
        priority: Option<u32> [PRIORITY],
    }

    /// The target of matched requests.
    pub struct GatewayRouteTarget<R>: Validate {
        /// The virtual service.
        virtual_service: R::GatewayRouteVirtualService,
        /// The port of the provider; needed when it has several.
        port: Option<u16> [1..=65535],
    }

    /// A virtual service by name.
    pub struct GatewayRouteVirtualService: Validate {
        /// 1 to 255 characters.
        virtual_service_name: String [1..=255],
    }

    /// A gateway route of gRPC calls.
    pub struct GrpcGatewayRoute<R>: Validate {
        /// Target and rewrites.
        action: GrpcGatewayRouteAction<R>,
        /// The calls that it applies to.
        matcher as "match": GrpcGatewayRouteMatch<R>,
    }

    /// Target and rewrites of gRPC calls.
    pub struct GrpcGatewayRouteAction<R>: Validate {
        /// The virtual service.
        target: GatewayRouteTarget<R>,
        /// Absent means the default rewrites.
        rewrite: Option<GrpcGatewayRouteRewrite>,
    }

    /// Rewrites of gRPC calls.
    #[derive(Default)]
    pub struct GrpcGatewayRouteRewrite: Validate {
        /// The host.
        hostname: Option<HostnameRewrite>,
    }

    /// The conditions on gRPC calls; all given members must match, and a service or a host is required.
    pub struct GrpcGatewayRouteMatch<R> {
        /// The host.
        hostname: Option<HostnameMatch>,
        /// 1 to 10 entries.
        metadata: Option<Vec<HeaderMatch<R>>> [MATCHERS],
        /// The gateway's port; needed when it has several.
        port: Option<u16>,
        /// The fully qualified service.
        service_name: Option<String>,
    }

    /// A gateway route of HTTP requests.
    pub struct HttpGatewayRoute<R> {
        /// Target and rewrites.
        action: HttpGatewayRouteAction<R>,
        /// The requests that it applies to.
        matcher as "match": HttpGatewayRouteMatch<R>,
    }

    /// Target and rewrites of HTTP requests.
    pub struct HttpGatewayRouteAction<R>: Validate {
        /// The virtual service.
        target: GatewayRouteTarget<R>,
        /// Absent means the default rewrites.
        rewrite: Option<HttpGatewayRouteRewrite>,
    }

    /// Rewrites of HTTP requests.
    #[derive(Default)]
    pub struct HttpGatewayRouteRewrite {
        /// The host; absent means that it becomes the virtual service's name.
        hostname: Option<HostnameRewrite>,
        /// The full path.
        path: Option<PathRewrite>,
        /// The matched prefix; absent means that it becomes `/`.
        prefix: Option<PrefixRewrite>,
    }

    /// Whether the host becomes the virtual service's name.
    #[derive(Copy, Default)]
    pub struct HostnameRewrite: Validate {
        /// Absent means enabled.
        default_target_hostname: Option<Switch>,
    }

    /// A new path.
    #[derive(Default)]
    pub struct PathRewrite {
        /// 1 to 255 characters.
        exact: Option<String> [1..=255],
    }
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

spec! {
    /// A new prefix: not both members.
    #[derive(Default)]
    pub struct PrefixRewrite {
        /// Whether the matched prefix becomes `/`.
        default_prefix: Option<Switch>,
        /// The new prefix; starts and ends with `/`, 1 to 255 characters.
        value: Option<String> [1..=255],
    }
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

string_enum! {
    /// On or off.
    #[allow(missing_docs)]
    pub enum Switch {
        Enabled = "ENABLED",
        Disabled = "DISABLED",
    }
}

spec! {
    /// The conditions on HTTP requests; all given members must match, and a path, a host or a port is required.
    pub struct HttpGatewayRouteMatch<R> {
        /// 1 to 10 headers.
        headers: Option<Vec<HeaderMatch<R>>> [MATCHERS],
        /// The host.
        hostname: Option<HostnameMatch>,
        /// The method.
        method: Option<Method>,
        /// The full path.
        path: Option<PathMatch>,
        /// The gateway's port; needed when it has several.
        port: Option<u16>,
        /// The prefix of the path.
        prefix: Option<String>,
        /// 1 to 10 parameters.
        query_parameters: Option<Vec<QueryMatch>> [MATCHERS],
    }
}

impl<R: References> GatewayRouteSpec<R> {
    /// The name of the route member that is given, and its target.
    pub fn target(&self) -> Option<(&'static str, &GatewayRouteTarget<R>)> {
        let http = [
            ("httpRoute", &self.http_route),
            ("http2Route", &self.http2_route),
        ];
        http.into_iter()
            .find_map(|(member, route)| Some((member, &route.as_ref()?.action.target)))
            .or_else(|| Some(("grpcRoute", &self.grpc_route.as_ref()?.action.target)))
    }

    /// The port of the gateway for which the route is, if it names one.
    pub fn match_port(&self) -> Option<u16> {
        let http = self.http_route.as_ref().or(self.http2_route.as_ref());
        http.and_then(|route| route.matcher.port)
            .or_else(|| self.grpc_route.as_ref()?.matcher.port)
    }
}

impl GatewayRouteSpec {
    /// The name of the route member that is given, and the name of the virtual service.
    pub fn target_service(&self) -> Option<(&'static str, &str)> {
        let (member, target) = self.target()?;
        Some((member, &target.virtual_service.virtual_service_name))
    }
}

impl<R: References> Validate for GatewayRouteSpec<R> {
    fn validate(&self, validator: &mut Validator) {
        check_priority(validator, self.priority);
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

impl<R: References> Validate for GrpcGatewayRouteMatch<R> {
    fn validate(&self, validator: &mut Validator) {
        if self.service_name.is_none() && self.hostname.is_none() {
            validator.deny_here("needs serviceName or hostname");
        }
        validator.field("hostname", &self.hostname);
        let service = self.service_name.as_ref();
        check_reserved(
            validator,
            "serviceName",
            service,
            ["aws.app-mesh", "aws.appmesh"],
        );
        check_list(validator, "metadata", self.metadata.as_ref());
        validator.port("port", self.port);
    }
}

impl<R: References> Validate for HttpGatewayRoute<R> {
    fn validate(&self, validator: &mut Validator) {
        let (matcher, action) = (&self.matcher, &self.action);
        validator.field("match", matcher);
        validator.field("action", action);
        let Some(rewrite) = &action.rewrite else {
            return;
        };
        if validator.is_kubernetes() && rewrite.prefix.is_some() && matcher.prefix.is_none() {
            let message = "is required, because the action rewrites the prefix";
            validator.deny_at("match.prefix", message);
        }
        if rewrite.path.is_some() && matcher.path.is_none() {
            validator.deny_at("action.rewrite.path", "needs a match on the path");
        }
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
