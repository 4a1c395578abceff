//! `VirtualRouter`: ports that clients connect to, and their routes.

use std::collections::BTreeMap;

use tombolo_model::appmesh::spec::route::{GrpcRoute, HttpRoute, PRIORITY, TcpRoute};
use tombolo_model::appmesh::spec::virtual_router::VirtualRouterListener;
use tombolo_model::appmesh::spec::{self, RouteSpec};
use tombolo_model::validation::{Validate, Validator};

use super::object::kind;
use super::record::record;
use super::{MeshRef, Refs};

kind! {
    /// A router with all of its routes.
    VirtualRouter(VirtualRouterSpec) {
        /// Name in the mesh API; by default `<name>_<namespace>`.
        aws_name: String,
        /// The ports that clients connect to.
        listeners: Vec<VirtualRouterListener> [1..=i64::MAX],
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

record! {
    /// A route: a match and its targets. Exactly one of the four types.
    pub struct Route {
        /// Name, unique in the router.
        name: String,
        /// 0 to 1000; the lowest is tried first.
        priority: Option<u32> [PRIORITY],
        /// For gRPC.
        grpc_route: Option<GrpcRoute<Refs>>,
        /// For HTTP/1.
        http_route: Option<HttpRoute<Refs>>,
        /// For HTTP/2.
        http2_route: Option<HttpRoute<Refs>>,
        /// For TCP.
        tcp_route: Option<TcpRoute<Refs>>,
    }
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
