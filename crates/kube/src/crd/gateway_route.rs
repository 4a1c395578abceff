//! `GatewayRoute`: the action of a gateway for an incoming request.

use tombolo_model::appmesh::spec;
use tombolo_model::appmesh::spec::gateway_route::{GrpcGatewayRoute, HttpGatewayRoute};
use tombolo_model::appmesh::spec::route::PRIORITY;
use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use super::{MeshRef, Refs, VirtualGatewayRef};

kind! {
    /// A route from a gateway to a virtual service.
    GatewayRoute(GatewayRouteSpec) {
        /// Name in the mesh API; by default `<name>_<namespace>`.
        aws_name: String,
        /// 0 to 1000; the lowest is tried first.
        priority: u32 [PRIORITY],
        /// For gRPC.
        grpc_route: GrpcGatewayRoute<Refs>,
        /// For HTTP/1.
        http_route: HttpGatewayRoute<Refs>,
        /// For HTTP/2.
        http2_route: HttpGatewayRoute<Refs>,
        /// The gateway; written at admission.
        virtual_gateway_ref: VirtualGatewayRef,
        /// The mesh; written at admission.
        mesh_ref: MeshRef,
    }
}

impl GatewayRouteSpec {
    /// The spec in the mesh API.
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
