//! The spec of a mesh.

use super::declare::spec;
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};

spec! {
    /// What applies to every node of a mesh.
    #[derive(Default)]
    pub struct MeshSpec: Validate {
        /// What happens to traffic to destinations that the mesh does not know. Absent means `DROP_ALL`.
        egress_filter: Option<EgressFilter>,
        /// Which address family is preferred.
        service_discovery: Option<MeshServiceDiscovery>,
    }

    /// What happens to traffic to destinations that the mesh does not know.
    #[derive(Copy)]
    pub struct EgressFilter: Validate {
        /// Whether it passes.
        kind as "type": EgressFilterType,
    }
}

string_enum! {
    /// See [`EgressFilter`].
    pub enum EgressFilterType {
        /// It passes through to its original destination.
        AllowAll = "ALLOW_ALL",
        /// It is refused.
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
    /// Which address family is used where both exist.
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
