//! Filters of resources by their containers.

use super::kind::Kind;
use tombolo_model::appmesh;

/// Containers that resources must be in.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Resources of a control plane")]
pub(crate) struct Filter {
    /// Only resources of this mesh.
    #[arg(long, value_name = "MESH")]
    pub(crate) mesh: Option<String>,
    /// Only routes of this virtual router.
    #[arg(long, value_name = "ROUTER")]
    pub(crate) router: Option<String>,
    /// Only gateway routes of this virtual gateway.
    #[arg(long, value_name = "GATEWAY")]
    pub(crate) gateway: Option<String>,
    /// Only instances of this Cloud Map service.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// The Cloud Map namespace; an option that commands share with Kubernetes namespaces.
    #[arg(skip)]
    pub(crate) namespace: Option<String>,
}

impl Filter {
    /// The filter with a Cloud Map namespace.
    pub(crate) fn in_namespace(&self, namespace: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            ..self.clone()
        }
    }

    /// Whether an option other than the namespace is given: the command is then about resources of a control plane.
    pub(crate) fn is_any(&self) -> bool {
        let options = [&self.mesh, &self.router, &self.gateway, &self.service];
        options.iter().any(|option| option.is_some())
    }

    /// Whether no resource of the kind can match.
    pub(super) fn excludes(&self, kind: Kind) -> bool {
        let (router, gateway) = (self.router.is_some(), self.gateway.is_some());
        match kind {
            Kind::Mesh(_) if self.namespace.is_some() || self.service.is_some() => true,
            Kind::Mesh(appmesh::Kind::Route) => gateway,
            Kind::Mesh(appmesh::Kind::GatewayRoute) => router,
            Kind::Mesh(_) => router || gateway,
            _ if self.mesh.is_some() || router || gateway => true,
            Kind::Namespace => self.service.is_some(),
            Kind::Service | Kind::Instance => false,
        }
    }
}
