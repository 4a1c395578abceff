//! `GatewayRoute`: what a gateway does with a request that enters.

use serde::{Deserialize, Serialize};
use tombolo_model::appmesh::spec;
use tombolo_model::appmesh::spec::gateway_route::{GrpcGatewayRoute, HttpGatewayRoute};
use tombolo_model::validation::{Validate, Validator};

use super::{MeshRef, Object, Refs, VirtualGatewayRef};

/// A route from a gateway to a virtual service.
pub type GatewayRoute = Object<GatewayRouteSpec>;

/// What a gateway route is. Exactly one of the three types.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRouteSpec {
    /// Name in the mesh API; by default `<name>_<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// 0 to 1000; the lowest is tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// For gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcGatewayRoute<Refs>>,
    /// For HTTP/1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpGatewayRoute<Refs>>,
    /// For HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpGatewayRoute<Refs>>,
    /// Its gateway; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_gateway_ref: Option<VirtualGatewayRef>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl GatewayRouteSpec {
    /// The part that the mesh API has, too.
    pub fn to_model(&self) -> spec::GatewayRouteSpec<Refs> {
        spec::GatewayRouteSpec {
            grpc_route: self.grpc_route.clone(),
            http2_route: self.http2_route.clone(),
            http_route: self.http_route.clone(),
            priority: self.priority,
        }
    }
}

impl Validate for GatewayRouteSpec {
    fn validate(&self, validator: &mut Validator) {
        self.to_model().validate(validator);
    }
}
