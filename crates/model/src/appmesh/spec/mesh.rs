//! The spec of a mesh.

use super::declare::spec;
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};

spec! {
    /// The spec of a mesh, which applies to all its nodes.
    #[derive(Default)]
    pub struct MeshSpec: Validate {
        /// The treatment of traffic to destinations outside the mesh. Absent means `DROP_ALL`.
        egress_filter: Option<EgressFilter>,
        /// The IP preference of all nodes.
        service_discovery: Option<MeshServiceDiscovery>,
    }

    /// The treatment of traffic to destinations outside the mesh.
    #[derive(Copy)]
    pub struct EgressFilter: Validate {
        /// Whether the traffic is allowed.
        kind as "type": EgressFilterType,
    }
}

string_enum! {
    /// See [`EgressFilter`].
    pub enum EgressFilterType {
        /// The traffic is passed through to its original destination.
        AllowAll = "ALLOW_ALL",
        /// The traffic is refused.
        DropAll = "DROP_ALL",
    }
}

spec! {
    /// Address-family preference of a mesh.
    #[derive(Copy, Default)]
    pub struct MeshServiceDiscovery {
        /// Absent means IPv6, then IPv4, in DNS, and IPv4 elsewhere.
        ip_preference: Option<IpPreference>,
    }
}

string_enum! {
    /// The address family that is used if both exist.
    #[allow(non_camel_case_types, missing_docs)]
    pub enum IpPreference {
        IPv6_PREFERRED = "IPv6_PREFERRED",
        IPv4_PREFERRED = "IPv4_PREFERRED",
        IPv4_ONLY = "IPv4_ONLY",
        IPv6_ONLY = "IPv6_ONLY",
    }
}

impl Validate for MeshServiceDiscovery {
    fn validate(&self, validator: &mut Validator) {
        let preferred = [IpPreference::IPv4_PREFERRED, IpPreference::IPv6_PREFERRED];
        if validator.is_kubernetes() && self.ip_preference.is_some_and(|it| preferred.contains(&it))
        {
            validator.deny("ipPreference", "must be IPv4_ONLY or IPv6_ONLY");
        }
    }
}
