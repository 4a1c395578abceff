//! Limits of the numbers of resources. AWS has quotas of the same names; these limits are far above them, and keep
//! memory bounded.

use crate::{Reason, Rejection, appmesh::Kind, string_enum::string_enum};
use std::str::FromStr;

string_enum! {
    /// A limit of the number of resources of one kind. Resources per account are counted in each region.
    #[allow(missing_docs)]
    pub enum Limit {
        MeshesPerAccount = "meshes-per-account",
        VirtualNodesPerMesh = "virtual-nodes-per-mesh",
        VirtualRoutersPerMesh = "virtual-routers-per-mesh",
        RoutesPerVirtualRouter = "routes-per-virtual-router",
        VirtualServicesPerMesh = "virtual-services-per-mesh",
        VirtualGatewaysPerMesh = "virtual-gateways-per-mesh",
        GatewayRoutesPerVirtualGateway = "gateway-routes-per-virtual-gateway",
        NamespacesPerAccount = "namespaces-per-account",
        ServicesPerNamespace = "services-per-namespace",
        InstancesPerService = "instances-per-service",
    }
}

impl Limit {
    /// The default maximum.
    pub fn default(self) -> usize {
        match self {
            Limit::MeshesPerAccount
            | Limit::RoutesPerVirtualRouter
            | Limit::VirtualGatewaysPerMesh
            | Limit::GatewayRoutesPerVirtualGateway => 1_000,
            Limit::VirtualNodesPerMesh
            | Limit::VirtualRoutersPerMesh
            | Limit::VirtualServicesPerMesh
            | Limit::NamespacesPerAccount
            | Limit::ServicesPerNamespace => 10_000,
            Limit::InstancesPerService => 100_000,
        }
    }

    pub(crate) fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Mesh => Limit::MeshesPerAccount,
            Kind::VirtualNode => Limit::VirtualNodesPerMesh,
            Kind::VirtualRouter => Limit::VirtualRoutersPerMesh,
            Kind::Route => Limit::RoutesPerVirtualRouter,
            Kind::VirtualService => Limit::VirtualServicesPerMesh,
            Kind::VirtualGateway => Limit::VirtualGatewaysPerMesh,
            Kind::GatewayRoute => Limit::GatewayRoutesPerVirtualGateway,
        }
    }
}

/// The maximum of each limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([usize; Limit::ALL.len()]);

impl Default for Limits {
    fn default() -> Self {
        Self(Limit::ALL.map(Limit::default))
    }
}

impl Limits {
    /// The same limits with another maximum for one.
    #[must_use]
    pub fn with(mut self, limit: Limit, max: usize) -> Self {
        self.0[limit as usize] = max;
        self
    }

    /// The configured maximum.
    pub fn max(&self, limit: Limit) -> usize {
        self.0[limit as usize]
    }

    /// Checks that one more resource is within the limit, if `present` exist already.
    pub(crate) fn check(&self, limit: Limit, present: usize) -> Result<(), Rejection> {
        let max = self.max(limit);
        if present < max {
            return Ok(());
        }
        Err(Rejection::new(
            Reason::LimitExceeded,
            format!(
                "{}: there are {present} already, the limit is {max}",
                limit.as_str()
            ),
        ))
    }
}

/// A text that does not set a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimit {
    /// The text is not `NAME=NUMBER`.
    #[error("{0:?} is not NAME=NUMBER; the names are {names}", names = names())]
    Format(String),
    /// There is no limit of this name.
    #[error("no limit is called {0:?}; there are {names}", names = names())]
    Name(String),
    /// The maximum of the limit `name` is not a number.
    #[error("{name}: {max:?} is not a number")]
    Number {
        /// The name of the limit.
        name: String,
        /// The text after the equals sign.
        max: String,
    },
}

fn names() -> String {
    Limit::ALL.map(Limit::as_str).join(", ")
}

/// Parses a limit and its maximum, such as `virtual-nodes-per-mesh=500`.
///
/// # Errors
/// The text has another form, an unknown name, or no number.
pub fn parse(text: &str) -> Result<(Limit, usize), InvalidLimit> {
    let (name, max) = text
        .split_once('=')
        .ok_or_else(|| InvalidLimit::Format(text.to_owned()))?;
    let limit = Limit::ALL.into_iter().find(|limit| limit.as_str() == name);
    let limit = limit.ok_or_else(|| InvalidLimit::Name(name.to_owned()))?;
    let max = usize::from_str(max).map_err(|_| InvalidLimit::Number {
        name: name.to_owned(),
        max: max.to_owned(),
    })?;
    Ok((limit, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_place_and_name() {
        for (i, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, i);
            let text = format!("{}={i}", limit.as_str());
            assert_eq!(parse(&text), Ok((limit, i)));
            let limits = Limits::default().with(limit, i);
            assert_eq!(limits.max(limit), i);
            let changed = Limit::ALL
                .into_iter()
                .filter(|other| limits.max(*other) != Limits::default().max(*other));
            assert_eq!(changed.collect::<Vec<_>>(), [limit]);
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "meshes",
            "meshes-per-account",
            "meshes=1",
            "meshes-per-account=-1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_more_than_the_maximum_is_refused() {
        let limits = Limits::default().with(Limit::MeshesPerAccount, 2);
        assert!(limits.check(Limit::MeshesPerAccount, 1).is_ok());
        let refused = limits.check(Limit::MeshesPerAccount, 2);
        let refused = refused.expect_err("two are enough");
        assert_eq!(refused.reason, Reason::LimitExceeded);
        assert!(refused.message.contains("meshes-per-account"), "{refused}");
    }
}
