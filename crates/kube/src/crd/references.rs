//! References between the objects of a cluster, and the other differences between the CRD and API forms.

use serde::de::IgnoredAny;
use serde::{Deserialize as _, Deserializer, Serialize};
use tombolo_model::appmesh::Kind as ModelKind;
use tombolo_model::appmesh::spec::mesh::IpPreference;
use tombolo_model::appmesh::spec::resolve::member;
use tombolo_model::appmesh::spec::route::{SHARE, check_share};
use tombolo_model::appmesh::spec::tls::ClientPolicy;
use tombolo_model::appmesh::spec::{
    References, Resolve, Resolver, Union, gateway_route, route, tls, virtual_node, virtual_service,
};
use tombolo_model::arn;
use tombolo_model::schema::{HasSchema, Schema};
use tombolo_model::validation::{Validate, Validator};

use super::record::record;
use super::{Kind, OneOf};
use crate::FieldPath;

/// The form of the Kubernetes kinds: objects refer to objects of the cluster, or to anything by its ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refs;

impl References for Refs {
    type Reference = NamedReference;
    type WeightedTarget = WeightedTarget;
    type VirtualServiceBackend = VirtualServiceBackend;
    type VirtualNodeProvider = VirtualNodeProvider;
    type VirtualRouterProvider = VirtualRouterProvider;
    type GatewayRouteVirtualService = GatewayRouteVirtualService;
    type AcmCertificate = AcmCertificate;
    type AcmTrust = AcmTrust;
    type IpPreference = NoIpPreference;
    type Union<T: Union + Resolve<Self>> = OneOf<T>;

    fn weight(target: &WeightedTarget) -> u32 {
        target.weight
    }

    /// The kinds have no such field: it is skipped, and a strict reader reports it.
    fn read_ip_preference<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<NoIpPreference>, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| None)
    }
}

/// Uninhabited: only a Mesh has an address family in this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum NoIpPreference {}

impl Validate for NoIpPreference {}

impl HasSchema for NoIpPreference {
    fn schema() -> Schema {
        Schema::Nothing
    }
}

/// Implements [`Resolve`]: the value at `$at` becomes `$body`.
macro_rules! resolve {
    ($name:ident => $resolved:ty, |$self:ident, $at:ident, $resolver:ident| $body:expr) => {
        impl Resolve<Refs> for $name {
            type Resolved = $resolved;

            fn resolve<V: Resolver<Refs>>(
                $self,
                $at: &mut FieldPath,
                $resolver: &V,
            ) -> Result<$resolved, V::Error> {
                $body
            }
        }
    };
}

resolve!(NoIpPreference => IpPreference, |self, _at, _resolver| match self {});

/// A reference as it was written: to an object of the cluster, or by ARN.
pub struct NamedReference {
    pub(crate) target: &'static Target,
    pub(crate) reference: Option<Reference>,
    pub(crate) arn: Option<String>,
}

record! {
    /// A reference to another object of the cluster. An absent or empty namespace is the referrer's own.
    pub struct Reference {
        /// Name of the object.
        name: String,
        /// The namespace of the object; absent is that of the object that refers to it.
        namespace: Option<String>,
    }
}

impl Reference {
    /// The namespace and name referred to from an object in `own_namespace`.
    pub fn resolve<'a>(&'a self, own_namespace: &'a str) -> (&'a str, &'a str) {
        let namespace = self
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty());
        (namespace.unwrap_or(own_namespace), &self.name)
    }
}

impl Validate for Reference {
    fn validate(&self, validator: &mut Validator) {
        if self.name.is_empty() {
            validator.deny("name", "must not be empty");
        }
    }
}

record! {
    /// A virtual node, by reference or by ARN, with its weight.
    pub struct WeightedTarget {
        /// A node of this cluster.
        virtual_node_ref: Option<Reference>,
        /// One of another cluster or account.
        virtual_node_arn as "virtualNodeARN": Option<String>,
        /// 0 to 100, relative to the other targets.
        weight: u32 [SHARE],
        /// The node's port; required when it has several.
        port: Option<u16>,
    }
}

impl Validate for WeightedTarget {
    fn validate(&self, validator: &mut Validator) {
        NODE.check(
            validator,
            self.virtual_node_ref.as_ref(),
            self.virtual_node_arn.as_deref(),
        );
        check_share(validator, self.weight, self.port);
    }
}

resolve!(WeightedTarget => route::WeightedTarget, |self, at, resolver| {
    let node = NamedReference {
        target: &NODE,
        reference: self.virtual_node_ref,
        arn: self.virtual_node_arn,
    };
    Ok(route::WeightedTarget {
        virtual_node: resolver.name(at, node)?,
        weight: self.weight,
        port: self.port,
    })
});

record! {
    /// A virtual service that a node calls: by reference or by ARN.
    pub struct VirtualServiceBackend {
        /// An object of this cluster.
        virtual_service_ref: Option<Reference>,
        /// One of another cluster or account.
        virtual_service_arn as "virtualServiceARN": Option<String>,
        /// The client policy of its connections.
        client_policy: Option<ClientPolicy<Refs>>,
    }
}

impl Validate for VirtualServiceBackend {
    fn validate(&self, validator: &mut Validator) {
        SERVICE.check(
            validator,
            self.virtual_service_ref.as_ref(),
            self.virtual_service_arn.as_deref(),
        );
        validator.field("clientPolicy", &self.client_policy);
    }
}

resolve!(VirtualServiceBackend => virtual_node::VirtualServiceBackend, |self, at, resolver| {
    let service = NamedReference {
        target: &SERVICE,
        reference: self.virtual_service_ref,
        arn: self.virtual_service_arn,
    };
    Ok(virtual_node::VirtualServiceBackend {
        virtual_service_name: resolver.name(at, service)?,
        client_policy: member(at, "clientPolicy", |at| {
            self.client_policy.resolve(at, resolver)
        })?,
    })
});

/// Declares a reference that is given as `<what>Ref` or as `<what>ARN`, and nothing else.
macro_rules! reference {
    (
        $(#[$doc:meta])*
        $name:ident, $reference:ident, $arn:ident, $arn_key:literal, $target:ident
        => $module:ident { $resolved_name:ident }
    ) => {
        record! {
            $(#[$doc])*
            pub struct $name {
                /// An object of this cluster.
                $reference: Option<Reference>,
                /// One of another cluster or account.
                $arn as $arn_key: Option<String>,
            }
        }

        impl Validate for $name {
            fn validate(&self, validator: &mut Validator) {
                $target.check(validator, self.$reference.as_ref(), self.$arn.as_deref());
            }
        }

        resolve!($name => $module::$name, |self, at, resolver| {
            let reference = NamedReference {
                target: &$target,
                reference: self.$reference,
                arn: self.$arn,
            };
            let $resolved_name = resolver.name(at, reference)?;
            Ok($module::$name { $resolved_name })
        });
    };
}

reference!(
    /// A virtual node that provides a virtual service.
    VirtualNodeProvider,
    virtual_node_ref,
    virtual_node_arn,
    "virtualNodeARN",
    NODE => virtual_service { virtual_node_name }
);
reference!(
    /// A virtual router that provides a virtual service.
    VirtualRouterProvider,
    virtual_router_ref,
    virtual_router_arn,
    "virtualRouterARN",
    ROUTER => virtual_service { virtual_router_name }
);
reference!(
    /// The virtual service that a gateway route leads to.
    GatewayRouteVirtualService,
    virtual_service_ref,
    virtual_service_arn,
    "virtualServiceARN",
    SERVICE => gateway_route { virtual_service_name }
);

/// An ARN that does not name a resource of the expected kind.
#[derive(Debug, thiserror::Error)]
#[error(
    "{arn:?} does not name a {kind}; write arn:aws:appmesh:<region>:<account>:mesh/<mesh>/{kind}/<name>"
)]
pub(crate) struct ArnError {
    arn: String,
    /// The segment of the kind in ARNs.
    kind: &'static str,
}

/// A possible target of a reference.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    model_kind: ModelKind,
    pub(crate) reference: &'static str,
    pub(crate) arn: &'static str,
}

pub(crate) static NODE: Target = Target {
    kind: Kind::VirtualNode,
    model_kind: ModelKind::VirtualNode,
    reference: "virtualNodeRef",
    arn: "virtualNodeARN",
};
pub(crate) static ROUTER: Target = Target {
    kind: Kind::VirtualRouter,
    model_kind: ModelKind::VirtualRouter,
    reference: "virtualRouterRef",
    arn: "virtualRouterARN",
};
pub(crate) static SERVICE: Target = Target {
    kind: Kind::VirtualService,
    model_kind: ModelKind::VirtualService,
    reference: "virtualServiceRef",
    arn: "virtualServiceARN",
};

impl Target {
    /// Both forms may be given: the ARN takes precedence.
    fn check(&self, validator: &mut Validator, reference: Option<&Reference>, arn: Option<&str>) {
        match (arn, reference) {
            (Some(arn), _) => {
                if let Err(error) = self.name_in(arn) {
                    validator.deny(self.arn, error.to_string());
                }
            }
            (None, Some(reference)) => validator.field(self.reference, reference),
            (None, None) => {
                validator.deny_here(format!("needs {} or {}", self.reference, self.arn));
            }
        }
    }

    /// The resource name in an ARN of this kind. Mesh, owner and region of the ARN are ignored: the name is looked up
    /// in the referrer's mesh.
    ///
    /// # Errors
    /// The ARN is not one of this kind.
    pub(crate) fn name_in(&self, arn: &str) -> Result<String, ArnError> {
        let named = arn::parse_resource(arn).filter(|named| named.key.kind == self.model_kind);
        named
            .map(|named| named.key.name.to_string())
            .ok_or_else(|| ArnError {
                arn: arn.to_owned(),
                kind: self.model_kind.path_segment(),
            })
    }
}

record! {
    /// A certificate of the certificate manager.
    pub struct AcmCertificate {
        /// The ARN of the certificate.
        certificate_arn as "certificateARN": String,
    }
}

impl Validate for AcmCertificate {}

resolve!(AcmCertificate => tls::AcmCertificate, |self, _at, _resolver| {
    Ok(tls::AcmCertificate {
        certificate_arn: self.certificate_arn,
    })
});

record! {
    /// Certificate authorities of the certificate manager.
    pub struct AcmTrust {
        /// The ARNs of the authorities, 1 to 3.
        certificate_authority_arns as "certificateAuthorityARNs": Vec<String> [1..=3],
    }
}

impl Validate for AcmTrust {
    fn validate(&self, validator: &mut Validator) {
        let arns = &self.certificate_authority_arns;
        validator.items("certificateAuthorityARNs", Some(arns), 1, 3);
    }
}

resolve!(AcmTrust => tls::AcmTrust, |self, _at, _resolver| {
    Ok(tls::AcmTrust {
        certificate_authority_arns: self.certificate_authority_arns,
    })
});
