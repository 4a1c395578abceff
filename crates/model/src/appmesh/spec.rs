//! The specs of the seven kinds: the shapes of the App Mesh API (facts/appmesh-api.md §5).
//!
//! Member names and unions are serialized exactly as in the API. Absent members stay absent, so that a spec is
//! returned as it was sent. Unknown members are dropped. [`Spec::check`] checks the bounds.
//!
//! The `appmesh.k8s.aws` kinds are the same types in another form, see [`References`].

mod declare;
pub mod gateway_route;
pub mod listener;
pub mod logging;
pub mod matching;
pub mod mesh;
pub mod references;
pub mod resolve;
pub mod retry;
pub mod route;
pub mod tls;
mod tls_gaps;
pub mod virtual_gateway;
pub mod virtual_node;
pub mod virtual_router;
pub mod virtual_service;

pub use gateway_route::GatewayRouteSpec;
pub use listener::{Duration, DurationUnit, PortMapping, Protocol};
pub use mesh::MeshSpec;
pub use references::{Names, Part, References, Union, UnionOf};
pub use resolve::{Resolve, Resolver, resolve_union};
pub use route::RouteSpec;
pub use tls_gaps::{TlsGap, tls_gaps};
pub use virtual_gateway::VirtualGatewaySpec;
pub use virtual_node::VirtualNodeSpec;
pub use virtual_router::VirtualRouterSpec;
pub use virtual_service::VirtualServiceSpec;

use super::Kind;
use crate::validation::{Form, Validate, Validator, Violations};
use serde::{Deserialize, Serialize};

/// The spec of a resource of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Spec {
    /// The spec of a mesh.
    Mesh(MeshSpec),
    /// The spec of a virtual node.
    VirtualNode(Box<VirtualNodeSpec>),
    /// The spec of a virtual router.
    VirtualRouter(VirtualRouterSpec),
    /// The spec of a route.
    Route(Box<RouteSpec>),
    /// The spec of a virtual service.
    VirtualService(VirtualServiceSpec),
    /// The spec of a virtual gateway.
    VirtualGateway(Box<VirtualGatewaySpec>),
    /// The spec of a gateway route.
    GatewayRoute(Box<GatewayRouteSpec>),
}

/// Evaluates an expression on the spec, whatever its kind.
macro_rules! each {
    ($spec:expr, $it:ident => $body:expr) => {
        match $spec {
            Spec::Mesh($it) => $body,
            Spec::VirtualNode($it) => $body,
            Spec::VirtualRouter($it) => $body,
            Spec::Route($it) => $body,
            Spec::VirtualService($it) => $body,
            Spec::VirtualGateway($it) => $body,
            Spec::GatewayRoute($it) => $body,
        }
    };
}

impl Spec {
    /// The kind this spec belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Spec::Mesh(_) => Kind::Mesh,
            Spec::VirtualNode(_) => Kind::VirtualNode,
            Spec::VirtualRouter(_) => Kind::VirtualRouter,
            Spec::Route(_) => Kind::Route,
            Spec::VirtualService(_) => Kind::VirtualService,
            Spec::VirtualGateway(_) => Kind::VirtualGateway,
            Spec::GatewayRoute(_) => Kind::GatewayRoute,
        }
    }

    /// The bare spec as JSON, without the kind.
    pub fn to_json(&self) -> serde_json::Value {
        let json = each!(self, spec => serde_json::to_value(spec));
        json.expect("specs have string keys only")
    }

    /// Reads the bare spec of a kind.
    ///
    /// # Errors
    /// The value does not have the kind's shape. Bounds are not checked.
    pub fn from_json(kind: Kind, json: serde_json::Value) -> Result<Self, serde_json::Error> {
        use serde_json::from_value as read;
        Ok(match kind {
            Kind::Mesh => Spec::Mesh(read(json)?),
            Kind::VirtualNode => Spec::VirtualNode(read(json)?),
            Kind::VirtualRouter => Spec::VirtualRouter(read(json)?),
            Kind::Route => Spec::Route(read(json)?),
            Kind::VirtualService => Spec::VirtualService(read(json)?),
            Kind::VirtualGateway => Spec::VirtualGateway(read(json)?),
            Kind::GatewayRoute => Spec::GatewayRoute(read(json)?),
        })
    }

    /// Validates this spec by itself; `apply` checks references to other resources. Paths start with `spec`.
    ///
    /// # Errors
    /// All violations.
    pub fn check(&self) -> Result<(), Violations> {
        let violations = each!(self, spec => Validator::spec(Form::Api, spec));
        match violations.is_empty() {
            true => Ok(()),
            false => Err(Violations(violations)),
        }
    }
}

impl<T: Validate + ?Sized> Validate for Box<T> {
    fn validate(&self, validator: &mut Validator) {
        (**self).validate(validator);
    }
}
