//! The AWS services, and the routing of requests to them (facts/aws-wire.md §1).

use crate::{sigv4::Claim, wire::Protocol};
use http::{HeaderMap, header, request::Parts};

/// An AWS service that is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    AppMesh,
    CloudMap,
    /// Elastic Kubernetes Service.
    Eks,
    Sts,
    /// The Resource Groups Tagging API.
    Tagging,
}

/// The path prefix of App Mesh.
pub(crate) const APP_MESH_PREFIX: &str = "/v20190125";
/// The service name in signatures of calls of the operator API.
pub(crate) const OPERATOR_SERVICE: &str = "tombolo";
/// The REST services with XML errors, by their names in signatures.
const REST_XML: [&str; 3] = ["s3", "route53", "cloudfront"];
/// The content type of forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

impl Service {
    const ALL: [Service; 5] = [
        Service::AppMesh,
        Service::CloudMap,
        Service::Eks,
        Service::Sts,
        Service::Tagging,
    ];

    /// The name in signatures. Except for tagging, it is also the prefix of actions in policies.
    pub(crate) fn signing_name(self) -> &'static str {
        match self {
            Service::AppMesh => "appmesh",
            Service::CloudMap => "servicediscovery",
            Service::Eks => "eks",
            Service::Sts => "sts",
            Service::Tagging => "tagging",
        }
    }

    /// The name in `X-Amz-Target` and in paths of rpc-v2-cbor; `None` for services with other protocols.
    pub(crate) fn rpc_name(self) -> Option<&'static str> {
        match self {
            Service::CloudMap => Some("Route53AutoNaming_v20170314"),
            Service::Tagging => Some("ResourceGroupsTaggingAPI_20170126"),
            Service::AppMesh | Service::Eks | Service::Sts => None,
        }
    }

    fn of_rpc_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|service| service.rpc_name() == Some(name))
    }

    fn of_signing_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|service| service.signing_name() == name)
    }
}

/// The destination of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A service.
    Service(Service, Protocol),
    /// An AWS service that is not implemented, by its name in the signature or else in the request.
    Absent(String, Protocol),
    /// The operator API, whose paths are not AWS calls.
    Operator,
}

impl Route {
    /// The route of a request. The host is ignored, because clients add prefixes to it.
    pub(crate) fn of(request: &Parts) -> Self {
        let path = request.uri.path();
        if let Some(target) = request.headers.get("x-amz-target") {
            let target = String::from_utf8_lossy(target.as_bytes());
            let name = target.split('.').next().unwrap_or_default();
            return Self::of_rpc(request, name, Protocol::Json11);
        }
        if let Some(name) = rpc_path(path).map(|(name, _)| name)
            && request.headers.contains_key("smithy-protocol")
        {
            return Self::of_rpc(request, name, Protocol::RpcV2Cbor);
        }
        if path
            .strip_prefix(APP_MESH_PREFIX)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            return Self::Service(Service::AppMesh, Protocol::RestJson);
        }
        let signed_for = signed_for(request);
        // Its paths have no prefix of their own, and might be those of others.
        if signed_for.as_deref() == Some(Service::Eks.signing_name()) {
            return Self::Service(Service::Eks, Protocol::RestJson);
        }
        let is_absent = |name: &str| Service::of_signing_name(name).is_none();
        let absent = signed_for.filter(|name| name != OPERATOR_SERVICE && is_absent(name));
        let is_xml = |name: &str| REST_XML.contains(&name);
        let query = request.uri.query().unwrap_or_default();
        let has_action = query.split('&').any(|pair| pair.starts_with("Action="));
        let is_query = path == "/" && (has_action || is_form(&request.headers));
        match (absent, is_query) {
            (Some(name), is_query) if is_query || is_xml(&name) => {
                Self::Absent(name, Protocol::Query)
            }
            (Some(name), _) => Self::Absent(name, Protocol::RestJson),
            (None, true) => Self::Service(Service::Sts, Protocol::Query),
            (None, false) => Self::Operator,
        }
    }

    fn of_rpc(request: &Parts, name: &str, protocol: Protocol) -> Self {
        match Service::of_rpc_name(name) {
            Some(service) => Self::Service(service, protocol),
            None => {
                let signed_for = signed_for(request);
                let absent = signed_for.filter(|name| Service::of_signing_name(name).is_none());
                Self::Absent(absent.unwrap_or_else(|| name.to_owned()), protocol)
            }
        }
    }

    /// The protocol of the answer.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Service(_, protocol) | Self::Absent(_, protocol) => *protocol,
            Self::Operator => Protocol::Operator,
        }
    }
}

/// The service and the operation in a path of rpc-v2-cbor: `/service/S/operation/O`.
pub(crate) fn rpc_path(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/service/")?.split_once("/operation/")
}

/// The service in a request's signature, which is not verified yet: it only selects the error of a refusal.
fn signed_for(request: &Parts) -> Option<String> {
    Some(Claim::read(request).ok()??.service)
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(FORM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn route(request: http::request::Builder) -> Route {
        Route::of(&request.body(()).expect("a legal request").into_parts().0)
    }

    fn signed(service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=A/20260101/r/{service}/aws4_request, SignedHeaders=host, Signature={}",
            "0f".repeat(32)
        )
    }

    #[test]
    fn the_target_header_wins_then_the_path_then_the_action() {
        let cloud_map = Route::Service(Service::CloudMap, Protocol::Json11);
        let app_mesh = Route::Service(Service::AppMesh, Protocol::RestJson);
        let sts = Route::Service(Service::Sts, Protocol::Query);
        let target = "Route53AutoNaming_v20170314.ListNamespaces";
        let request = Request::post("/v20190125/meshes").header("X-Amz-Target", target);
        assert_eq!(route(request), cloud_map);
        let request = Request::get("/v20190125/meshes?Action=GetCallerIdentity");
        assert_eq!(route(request), app_mesh);
        let request = Request::get("/?Version=1&Action=GetCallerIdentity");
        assert_eq!(route(request), sts);
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let request = Request::post("/").header("Content-Type", form);
        assert_eq!(route(request), sts);
    }

    #[test]
    fn tagging_comes_in_both_protocols() {
        let target = "ResourceGroupsTaggingAPI_20170126.GetResources";
        let request = Request::post("/").header("X-Amz-Target", target);
        let json = Route::Service(Service::Tagging, Protocol::Json11);
        assert_eq!(route(request), json);
        let path = "/service/ResourceGroupsTaggingAPI_20170126/operation/GetResources";
        let request = Request::post(path).header("smithy-protocol", "rpc-v2-cbor");
        let cbor = Route::Service(Service::Tagging, Protocol::RpcV2Cbor);
        assert_eq!(route(request), cbor);
        assert_eq!(route(Request::post(path)), Route::Operator);
    }

    #[test]
    fn services_that_are_not_here_are_named_as_they_are_signed() {
        let absent = |name: &str, protocol| Route::Absent(name.into(), protocol);
        let target = "AmazonEC2ContainerServiceV20141113.ListClusters";
        let request = || Request::post("/").header("x-amz-target", target);
        let signed_request = request().header("authorization", signed("ecs"));
        assert_eq!(route(signed_request), absent("ecs", Protocol::Json11));
        let name = "AmazonEC2ContainerServiceV20141113";
        assert_eq!(route(request()), absent(name, Protocol::Json11));
        let request = Request::post("/?Action=ListUsers").header("authorization", signed("iam"));
        assert_eq!(route(request), absent("iam", Protocol::Query));
        let request = Request::get("/functions").header("authorization", signed("lambda"));
        assert_eq!(route(request), absent("lambda", Protocol::RestJson));
        let request = Request::get("/clusters").header("authorization", signed("eks"));
        let eks = Route::Service(Service::Eks, Protocol::RestJson);
        assert_eq!(route(request), eks);
        // What is here is refused for its signature, by whom it was sent to.
        let request = Request::post("/?Action=x").header("authorization", signed("appmesh"));
        let sts = Route::Service(Service::Sts, Protocol::Query);
        assert_eq!(route(request), sts);
        let request = Request::get("/clusters").header("authorization", signed("appmesh"));
        assert_eq!(route(request), Route::Operator);
        let request = Request::get("/status").header("authorization", signed("tombolo"));
        assert_eq!(route(request), Route::Operator);
    }

    #[test]
    fn everything_else_is_the_operators() {
        for path in ["/", "/v20190125x/meshes", "/console?Action=x"] {
            assert_eq!(route(Request::get(path)), Route::Operator, "{path}");
        }
    }
}
