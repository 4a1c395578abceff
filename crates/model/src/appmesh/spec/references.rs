//! The differences between the two forms of specs, mainly the references between objects.
//!
//! Every spec is generic over [`References`]. With [`Names`], the default, it is what the App Mesh API takes and the
//! store keeps. The Kubernetes kinds are the same types with references to objects of the cluster, so a field is
//! declared once, validated once, and carried over by the compiler (see [`super::resolve`]).

use super::{
    Resolve,
    gateway_route::GatewayRouteVirtualService,
    mesh::IpPreference,
    route::WeightedTarget,
    tls::{AcmCertificate, AcmTrust},
    virtual_node::VirtualServiceBackend,
    virtual_service::{VirtualNodeProvider, VirtualRouterProvider},
};
use crate::{schema::HasSchema, validation::Validate};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use std::{convert::Infallible, fmt};

/// The trait bounds of every part of a spec.
pub trait Part:
    Clone + fmt::Debug + PartialEq + Eq + Serialize + DeserializeOwned + Validate + HasSchema + 'static
{
}

impl<T> Part for T where
    T: Clone
        + fmt::Debug
        + PartialEq
        + Eq
        + Serialize
        + DeserializeOwned
        + Validate
        + HasSchema
        + 'static
{
}

/// A form of specs.
///
/// A member that refers to an object has another name in each form, so the struct around it (which has few members)
/// is a type of the form.
pub trait References: Copy + fmt::Debug + Eq + 'static {
    /// A reference to an object, which a [`Resolver`](super::Resolver) replaces by a name.
    type Reference;
    /// A target of a route: a virtual node and its weight.
    type WeightedTarget: Part + Resolve<Self, Resolved = WeightedTarget>;
    /// A virtual service that a node calls.
    type VirtualServiceBackend: Part + Resolve<Self, Resolved = VirtualServiceBackend>;
    /// The virtual node that provides a virtual service.
    type VirtualNodeProvider: Part + Resolve<Self, Resolved = VirtualNodeProvider>;
    /// The virtual router that provides a virtual service.
    type VirtualRouterProvider: Part + Resolve<Self, Resolved = VirtualRouterProvider>;
    /// The virtual service to which a gateway route leads.
    type GatewayRouteVirtualService: Part + Resolve<Self, Resolved = GatewayRouteVirtualService>;
    /// A certificate by ARN, spelled differently in each form.
    type AcmCertificate: Part + Resolve<Self, Resolved = AcmCertificate>;
    /// Certificate authorities by ARN, spelled differently in each form.
    type AcmTrust: Part + Resolve<Self, Resolved = AcmTrust>;
    /// The address family of one virtual node's discovery, which not every form has.
    type IpPreference: Copy
        + fmt::Debug
        + Eq
        + Serialize
        + Validate
        + HasSchema
        + Resolve<Self, Resolved = IpPreference>
        + 'static;
    /// The deserialized form of a union: its one member, or all given members, to be validated later.
    type Union<T: Union + Resolve<Self>>: UnionOf<T>
        + Resolve<Self, Resolved = <T as Resolve<Self>>::Resolved>;

    /// The weight of a target, for the sum of all.
    fn weight(target: &Self::WeightedTarget) -> u32;

    /// Reads the member `ipPreference` of a virtual node's discovery.
    ///
    /// # Errors
    /// The value is not valid.
    fn read_ip_preference<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Self::IpPreference>, D::Error>;
}

/// The form of the App Mesh API: resources refer to each other by name within their mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names;

impl References for Names {
    type Reference = Infallible;
    type WeightedTarget = WeightedTarget;
    type VirtualServiceBackend = VirtualServiceBackend;
    type VirtualNodeProvider = VirtualNodeProvider;
    type VirtualRouterProvider = VirtualRouterProvider;
    type GatewayRouteVirtualService = GatewayRouteVirtualService;
    type AcmCertificate = AcmCertificate;
    type AcmTrust = AcmTrust;
    type IpPreference = IpPreference;
    type Union<T: Union + Resolve<Self>> = T;

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

/// The deserialized form of a union.
pub trait UnionOf<T>: Part {
    /// The member, when exactly one was given.
    fn get(&self) -> Option<&T>;

    /// The member, when exactly one was given.
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
