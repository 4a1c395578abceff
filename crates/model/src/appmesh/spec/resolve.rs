//! From references to names: one pass over a spec in another form gives the spec of the API.
//!
//! Each struct is taken apart and put together again, so a field that is added to one cannot be forgotten here.

use super::{
    GatewayRouteSpec, References, RouteSpec, Union, UnionOf, VirtualGatewaySpec, VirtualNodeSpec,
    VirtualServiceSpec,
    gateway_route::{
        GatewayRouteTarget, GatewayRouteVirtualService, GrpcGatewayRoute, GrpcGatewayRouteAction,
        GrpcGatewayRouteMatch, HttpGatewayRoute, HttpGatewayRouteAction, HttpGatewayRouteMatch,
    },
    logging::{AccessLog, FileAccessLog, Logging},
    matching::HeaderMatch,
    route::{
        GrpcRoute, GrpcRouteMatch, HttpRoute, HttpRouteMatch, RouteAction, TcpRoute, WeightedTarget,
    },
    tls::{
        BackendDefaults, ClientPolicy, ClientPolicyTls, ListenerTls, ServerCertificate, Trust,
        Validation,
    },
    virtual_gateway::VirtualGatewayListener,
    virtual_node::{
        Backend, CloudMapDiscovery, DnsDiscovery, Listener, ServiceDiscovery, VirtualServiceBackend,
    },
    virtual_service::{Provider, VirtualNodeProvider, VirtualRouterProvider},
};
use crate::{FieldPath, Violation};

/// Knows the names of what is referred to.
pub trait Resolver<R: References> {
    /// Why a reference has no name. A union without exactly one member becomes one, too; no spec that was checked
    /// has it.
    type Error: From<Violation>;

    /// The target of a route, at path `at`.
    ///
    /// # Errors
    /// The reference leads nowhere. The same holds of the other methods.
    fn weighted_target(
        &self,
        at: &FieldPath,
        target: R::WeightedTarget,
    ) -> Result<WeightedTarget, Self::Error>;

    /// The virtual service that a node calls.
    fn backend(
        &self,
        at: &FieldPath,
        backend: R::VirtualServiceBackend,
    ) -> Result<VirtualServiceBackend, Self::Error>;

    /// The node that provides a virtual service.
    fn virtual_node(
        &self,
        at: &FieldPath,
        node: R::VirtualNodeProvider,
    ) -> Result<VirtualNodeProvider, Self::Error>;

    /// The router that provides a virtual service.
    fn virtual_router(
        &self,
        at: &FieldPath,
        router: R::VirtualRouterProvider,
    ) -> Result<VirtualRouterProvider, Self::Error>;

    /// The virtual service that a gateway route leads to.
    fn virtual_service(
        &self,
        at: &FieldPath,
        service: R::GatewayRouteVirtualService,
    ) -> Result<GatewayRouteVirtualService, Self::Error>;
}

/// Something with references in it, whose names can be looked up.
pub trait Resolve<R: References>: Sized {
    /// The same in the form of the API.
    type Resolved;

    /// Looks up every name; `at` is the path of the value.
    ///
    /// # Errors
    /// The first reference that has no name.
    fn resolve<V: Resolver<R>>(
        self,
        at: &FieldPath,
        resolver: &V,
    ) -> Result<Self::Resolved, V::Error>;
}

impl<R: References, T: Resolve<R>> Resolve<R> for Option<T> {
    type Resolved = Option<T::Resolved>;

    fn resolve<V: Resolver<R>>(
        self,
        at: &FieldPath,
        resolver: &V,
    ) -> Result<Self::Resolved, V::Error> {
        self.map(|value| value.resolve(at, resolver)).transpose()
    }
}

impl<R: References, T: Resolve<R>> Resolve<R> for Vec<T> {
    type Resolved = Vec<T::Resolved>;

    fn resolve<V: Resolver<R>>(
        self,
        at: &FieldPath,
        resolver: &V,
    ) -> Result<Self::Resolved, V::Error> {
        let items = self.into_iter().enumerate();
        items
            .map(|(index, item)| item.resolve(&at.clone().index(index), resolver))
            .collect()
    }
}

/// The one member of a union at path `at`.
fn one<R: References, T: Union>(at: &FieldPath, union: R::Union<T>) -> Result<T, Violation> {
    let none = || {
        let members = T::MEMBERS.join(", ");
        Violation::new(at.clone(), format!("needs exactly one of {members}"))
    };
    union.into_inner().ok_or_else(none)
}

/// The one member of a union at path `at`, with its names.
fn named<R: References, T: Union + Resolve<R>, V: Resolver<R>>(
    at: &FieldPath,
    union: R::Union<T>,
    resolver: &V,
) -> Result<T::Resolved, V::Error> {
    one::<R, T>(at, union)?.resolve(at, resolver)
}

/// Implements [`Resolve`] for a struct. `keep`: members without references. `inner`: members that are resolved
/// themselves. `plain`: optional unions without references. `unions`: optional unions, and `union`: a required one,
/// whose members are resolved.
macro_rules! resolve {
    (
        $name:ident
        $(, keep { $($keep:ident),+ })?
        $(, inner { $($inner:ident: $inner_key:literal),+ })?
        $(, plain { $($plain:ident: $plain_key:literal),+ })?
        $(, unions { $($unions:ident: $unions_key:literal as $unions_type:ident),+ })?
        $(, union { $union:ident: $union_key:literal as $union_type:ident })?
    ) => {
        impl<R: References> Resolve<R> for $name<R> {
            type Resolved = $name;

            fn resolve<V: Resolver<R>>(
                self,
                at: &FieldPath,
                resolver: &V,
            ) -> Result<$name, V::Error> {
                let _ = resolver;
                let Self {
                    $($($keep,)+)? $($($inner,)+)? $($($plain,)+)? $($($unions,)+)? $($union,)?
                } = self;
                $($(
                    let $inner = $inner.resolve(&at.clone().field($inner_key), resolver)?;
                )+)?
                $($(
                    let at_union = at.clone().field($plain_key);
                    let $plain = $plain.map(|it| one::<R, _>(&at_union, it)).transpose()?;
                )+)?
                $($(
                    let at_union = at.clone().field($unions_key);
                    let $unions = $unions
                        .map(|it| named::<R, $unions_type<R>, V>(&at_union, it, resolver))
                        .transpose()?;
                )+)?
                $(
                    let at_union = at.clone().field($union_key);
                    let $union = named::<R, $union_type<R>, V>(&at_union, $union, resolver)?;
                )?
                Ok($name {
                    $($($keep,)+)? $($($inner,)+)? $($($plain,)+)? $($($unions,)+)? $($union,)?
                })
            }
        }
    };
}

resolve!(
    Listener,
    keep {
        port_mapping,
        health_check,
        outlier_detection
    },
    inner { tls: "tls" },
    plain {
        connection_pool: "connectionPool",
        timeout: "timeout"
    }
);
resolve!(
    VirtualGatewaySpec,
    inner {
        listeners: "listeners",
        backend_defaults: "backendDefaults",
        logging: "logging"
    }
);
resolve!(
    VirtualGatewayListener,
    keep {
        port_mapping,
        health_check
    },
    inner { tls: "tls" },
    plain {
        connection_pool: "connectionPool"
    }
);
resolve!(
    VirtualServiceSpec,
    unions {
        provider: "provider" as Provider
    }
);

resolve!(
    Logging,
    unions {
        access_log: "accessLog" as AccessLog
    }
);
resolve!(FileAccessLog, keep { path }, plain { format: "format" });
resolve!(
    BackendDefaults,
    inner {
        client_policy: "clientPolicy"
    }
);
resolve!(ClientPolicy, inner { tls: "tls" });
resolve!(
    ClientPolicyTls,
    keep { enforce, ports },
    inner {
        validation: "validation"
    },
    plain {
        certificate: "certificate"
    }
);
resolve!(
    ListenerTls,
    keep { mode },
    inner {
        validation: "validation"
    },
    union {
        certificate: "certificate" as ServerCertificate
    }
);
resolve!(
    Validation,
    keep {
        subject_alternative_names
    },
    union {
        trust: "trust" as Trust
    }
);

resolve!(
    RouteSpec,
    keep { priority },
    inner {
        grpc_route: "grpcRoute",
        http_route: "httpRoute",
        http2_route: "http2Route",
        tcp_route: "tcpRoute"
    }
);
resolve!(
    HttpRoute,
    keep {
        retry_policy,
        timeout
    },
    inner {
        action: "action",
        matcher: "match"
    }
);
resolve!(
    HttpRouteMatch,
    keep {
        method,
        path,
        port,
        prefix,
        query_parameters,
        scheme
    },
    inner { headers: "headers" }
);
resolve!(
    GrpcRoute,
    keep {
        retry_policy,
        timeout
    },
    inner {
        action: "action",
        matcher: "match"
    }
);
resolve!(
    GrpcRouteMatch,
    keep {
        method_name,
        port,
        service_name
    },
    inner {
        metadata: "metadata"
    }
);
resolve!(
    TcpRoute,
    keep { matcher, timeout },
    inner { action: "action" }
);
resolve!(
    HeaderMatch,
    keep { name, invert },
    plain { matcher: "match" }
);

resolve!(
    GatewayRouteSpec,
    keep { priority },
    inner {
        grpc_route: "grpcRoute",
        http_route: "httpRoute",
        http2_route: "http2Route"
    }
);
resolve!(
    HttpGatewayRoute,
    inner {
        action: "action",
        matcher: "match"
    }
);
resolve!(
    HttpGatewayRouteAction,
    keep { rewrite },
    inner { target: "target" }
);
resolve!(
    HttpGatewayRouteMatch,
    keep {
        hostname,
        method,
        path,
        port,
        prefix,
        query_parameters
    },
    inner { headers: "headers" }
);
resolve!(
    GrpcGatewayRoute,
    inner {
        action: "action",
        matcher: "match"
    }
);
resolve!(
    GrpcGatewayRouteAction,
    keep { rewrite },
    inner { target: "target" }
);
resolve!(
    GrpcGatewayRouteMatch,
    keep {
        hostname,
        port,
        service_name
    },
    inner {
        metadata: "metadata"
    }
);

/// Implements [`Resolve`] by hand: `$self` at `$at` becomes `$body`.
macro_rules! resolve_by {
    ($name:ident, |$self:ident, $at:ident, $resolver:ident| $body:expr) => {
        impl<R: References> Resolve<R> for $name<R> {
            type Resolved = $name;

            fn resolve<V: Resolver<R>>(
                $self,
                $at: &FieldPath,
                $resolver: &V,
            ) -> Result<$name, V::Error> {
                $body
            }
        }
    };
}

resolve_by!(VirtualNodeSpec, |self, at, resolver| {
    let at_discovery = at.clone().field("serviceDiscovery");
    let discovery = self
        .service_discovery
        .map(|it| named::<R, ServiceDiscovery<R>, V>(&at_discovery, it, resolver));
    let at_backends = at.clone().field("backends");
    let backend = |(index, backend)| {
        let at = at_backends.clone().index(index);
        named::<R, Backend<R>, V>(&at, backend, resolver)
    };
    let backends = self
        .backends
        .map(|backends| backends.into_iter().enumerate().map(backend).collect());
    Ok(VirtualNodeSpec {
        backend_defaults: self
            .backend_defaults
            .resolve(&at.clone().field("backendDefaults"), resolver)?,
        backends: backends.transpose()?,
        listeners: self
            .listeners
            .resolve(&at.clone().field("listeners"), resolver)?,
        logging: self
            .logging
            .resolve(&at.clone().field("logging"), resolver)?,
        service_discovery: discovery.transpose()?,
    })
});

resolve_by!(Backend, |self, at, resolver| {
    let Backend::VirtualService(service) = self;
    let at = at.clone().field("virtualService");
    resolver.backend(&at, service).map(Backend::VirtualService)
});

resolve_by!(ServiceDiscovery, |self, _at, _resolver| {
    Ok(match self {
        ServiceDiscovery::AwsCloudMap(it) => ServiceDiscovery::AwsCloudMap(CloudMapDiscovery {
            namespace_name: it.namespace_name,
            service_name: it.service_name,
            attributes: it.attributes,
            ip_preference: it.ip_preference.map(Into::into),
        }),
        ServiceDiscovery::Dns(it) => ServiceDiscovery::Dns(DnsDiscovery {
            hostname: it.hostname,
            ip_preference: it.ip_preference.map(Into::into),
            response_type: it.response_type,
        }),
    })
});

resolve_by!(Provider, |self, at, resolver| {
    match self {
        Provider::VirtualNode(node) => {
            let at = at.clone().field("virtualNode");
            resolver.virtual_node(&at, node).map(Provider::VirtualNode)
        }
        Provider::VirtualRouter(router) => {
            let at = at.clone().field("virtualRouter");
            let router = resolver.virtual_router(&at, router);
            router.map(Provider::VirtualRouter)
        }
    }
});

resolve_by!(AccessLog, |self, at, resolver| {
    let AccessLog::File(file) = self;
    let at = at.clone().field("file");
    file.resolve(&at, resolver).map(AccessLog::File)
});

resolve_by!(ServerCertificate, |self, _at, _resolver| {
    Ok(match self {
        ServerCertificate::Acm(certificate) => ServerCertificate::Acm(certificate.into()),
        ServerCertificate::File(certificate) => ServerCertificate::File(certificate),
        ServerCertificate::Sds(secret) => ServerCertificate::Sds(secret),
    })
});

resolve_by!(Trust, |self, _at, _resolver| {
    Ok(match self {
        Trust::Acm(trust) => Trust::Acm(trust.into()),
        Trust::File(trust) => Trust::File(trust),
        Trust::Sds(secret) => Trust::Sds(secret),
    })
});

resolve_by!(RouteAction, |self, at, resolver| {
    let at = at.clone().field("weightedTargets");
    let targets = self.weighted_targets.into_iter().enumerate();
    let targets =
        targets.map(|(index, target)| resolver.weighted_target(&at.clone().index(index), target));
    Ok(RouteAction {
        weighted_targets: targets.collect::<Result<_, _>>()?,
    })
});

resolve_by!(GatewayRouteTarget, |self, at, resolver| {
    let at = at.clone().field("virtualService");
    Ok(GatewayRouteTarget {
        virtual_service: resolver.virtual_service(&at, self.virtual_service)?,
        port: self.port,
    })
});
