//! What differs between the two forms in which specs are written: how objects refer to each other, and little else.
//!
//! Every spec is generic over [`References`]. With [`Names`], the default, it is what the App Mesh API takes and the
//! store keeps. The Kubernetes kinds are the same types with references to objects of the cluster, so a field is
//! written down once, checked once, and carried over by the compiler (see [`super::resolve`]).

use super::{
    gateway_route::GatewayRouteVirtualService,
    mesh::IpPreference,
    route::WeightedTarget,
    tls::{AcmCertificate, AcmTrust},
    virtual_node::VirtualServiceBackend,
    virtual_service::{VirtualNodeProvider, VirtualRouterProvider},
};
use crate::validation::Validate;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use std::fmt;

/// The bounds of every part of a spec.
pub trait Part:
    Clone + fmt::Debug + PartialEq + Eq + Serialize + DeserializeOwned + Validate + 'static
{
}

impl<T> Part for T where
    T: Clone + fmt::Debug + PartialEq + Eq + Serialize + DeserializeOwned + Validate + 'static
{
}

/// A form in which specs are written.
///
/// A member that refers to something has other names in each form, so what is around it (which has few members) is
/// a type of the form, too.
pub trait References: Copy + fmt::Debug + Eq + 'static {
    /// A target of a route: a virtual node and its weight.
    type WeightedTarget: Part;
    /// A virtual service that a node calls.
    type VirtualServiceBackend: Part;
    /// The virtual node that provides a virtual service.
    type VirtualNodeProvider: Part;
    /// The virtual router that provides a virtual service.
    type VirtualRouterProvider: Part;
    /// The virtual service that a gateway route leads to.
    type GatewayRouteVirtualService: Part;
    /// A certificate by its ARN, which is spelled differently.
    type AcmCertificate: Part + Into<AcmCertificate>;
    /// Authorities by their ARNs, which are spelled differently.
    type AcmTrust: Part + Into<AcmTrust>;
    /// The address family of one virtual node's discovery, which not every form has.
    type IpPreference: Copy + fmt::Debug + Eq + Serialize + Into<IpPreference> + 'static;
    /// How a union is read: as its one member, or as whatever was written, to be checked.
    type Union<T: Union>: UnionOf<T>;

    /// The weight of a target, for the sum of all.
    fn weight(target: &Self::WeightedTarget) -> u32;

    /// Reads the member `ipPreference` of a virtual node's discovery.
    ///
    /// # Errors
    /// As the deserializer has them.
    fn read_ip_preference<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Self::IpPreference>, D::Error>;
}

/// The form of the App Mesh API: resources refer to each other by name within their mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names;

impl References for Names {
    type WeightedTarget = WeightedTarget;
    type VirtualServiceBackend = VirtualServiceBackend;
    type VirtualNodeProvider = VirtualNodeProvider;
    type VirtualRouterProvider = VirtualRouterProvider;
    type GatewayRouteVirtualService = GatewayRouteVirtualService;
    type AcmCertificate = AcmCertificate;
    type AcmTrust = AcmTrust;
    type IpPreference = IpPreference;
    type Union<T: Union> = T;

    fn weight(target: &WeightedTarget) -> u32 {
        target.weight
    }

    fn read_ip_preference<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<IpPreference>, D::Error> {
        Option::deserialize(deserializer)
    }
}

/// An enum that is written as a map with exactly one of several members.
pub trait Union: Part {
    /// The names of all members, in the order in which messages list them.
    const MEMBERS: &'static [&'static str];

    /// The name of this member.
    fn member(&self) -> &'static str;
}

/// What a form reads as a union.
pub trait UnionOf<T>: Part {
    /// The member that was given, when it was exactly one.
    fn get(&self) -> Option<&T>;

    /// The member that was given, when it was exactly one.
    fn into_inner(self) -> Option<T>;
}

impl<T: Union> UnionOf<T> for T {
    fn get(&self) -> Option<&T> {
        Some(self)
    }

    fn into_inner(self) -> Option<T> {
        Some(self)
    }
}

/// Implements [`Union`] and, by the member's own rules, [`Validate`].
macro_rules! union {
    ($name:ident<R> { $($members:tt)+ }) => {
        union!(@ (<R: crate::appmesh::spec::References>) ($name<R>) $($members)+);
    };
    ($name:ident { $($members:tt)+ }) => {
        union!(@ () ($name) $($members)+);
    };
    (@ ($($generics:tt)*) ($($name:tt)+) $($variant:ident: $member:literal),+ $(,)?) => {
        impl $($generics)* crate::appmesh::spec::Union for $($name)+ {
            const MEMBERS: &'static [&'static str] = &[$($member),+];

            fn member(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $member,)+
                }
            }
        }

        impl $($generics)* crate::validation::Validate for $($name)+ {
            fn validate(&self, validator: &mut crate::validation::Validator) {
                match self {
                    $(Self::$variant(value) => validator.field($member, value),)+
                }
            }
        }
    };
}
pub(super) use union;
