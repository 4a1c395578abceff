//! `VirtualRouter`: ports that clients connect to, and their routes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tombolo_model::appmesh::spec::route::{GrpcRoute, HttpRoute, TcpRoute};
use tombolo_model::appmesh::spec::virtual_router::VirtualRouterListener;
use tombolo_model::appmesh::spec::{self, RouteSpec};
use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use super::{MeshRef, Refs};

kind! {
    /// A router with all of its routes.
    VirtualRouter(VirtualRouterSpec) {
        /// Name in the mesh API; by default `<name>_<namespace>`.
        aws_name: String,
        /// The ports that clients connect to.
        listeners: Vec<VirtualRouterListener>,
        /// The complete list of routes.
        routes: Vec<Route>,
        /// The mesh; written at admission.
        mesh_ref: MeshRef,
    }
}

impl VirtualRouterSpec {
    /// The router's spec in the mesh API.
    pub fn to_model(&self) -> spec::VirtualRouterSpec {
        spec::VirtualRouterSpec {
            listeners: self.listeners.clone(),
        }
    }

    /// The routes, none if absent.
    pub fn routes(&self) -> &[Route] {
        self.routes.as_deref().unwrap_or_default()
    }
}

/// A route: a match and its targets. Exactly one of the four types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Name, unique in the router.
    pub name: String,
    /// 0 to 1000; the lowest is tried first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// For gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_route: Option<GrpcRoute<Refs>>,
    /// For HTTP/1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRoute<Refs>>,
    /// For HTTP/2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http2_route: Option<HttpRoute<Refs>>,
    /// For TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_route: Option<TcpRoute<Refs>>,
}

impl Route {
    /// The route's spec in the mesh API, with references.
    pub fn to_model(&self) -> RouteSpec<Refs> {
        RouteSpec {
            grpc_route: self.grpc_route.clone(),
            http2_route: self.http2_route.clone(),
            http_route: self.http_route.clone(),
            priority: self.priority,
            tcp_route: self.tcp_route.clone(),
        }
    }
}

impl Validate for Route {
    fn validate(&self, validator: &mut Validator) {
        validator.length("name", &self.name, 1, 255);
        self.to_model().validate(validator);
    }
}

impl Validate for VirtualRouterSpec {
    fn validate(&self, validator: &mut Validator) {
        self.to_model().validate(validator);
        validator.field("routes", &self.routes);
        validator.within("routes", |validator| {
            let mut seen = BTreeMap::new();
            for (index, Route { name, .. }) in self.routes().iter().enumerate() {
                if let Some(first) = seen.insert(name, index) {
                    let message = format!(
                        "{name:?} is the name of spec.routes[{first}] too; give each route its own"
                    );
                    validator.item(index, |validator| validator.deny("name", message));
                }
            }
        });
    }
}
