//! The seven kinds of `appmesh.k8s.aws/v1beta2`, field for field, with the bounds of their schema.
//!
//! [`Resource`] is any one of them. `status` carries what the controller writes back: the ARN and one
//! condition. The kinds implement the `k8s_openapi` traits, so a Kubernetes client can list and watch them.

mod backend_group;
pub mod check;
mod gateway_route;
mod listener;
mod logging;
mod matching;
mod mesh;
mod resource;
mod status;
mod tls;
mod virtual_gateway;
mod virtual_node;
mod virtual_router;
mod virtual_service;

pub use backend_group::{BackendGroup, BackendGroupSpec, BackendGroupStatus};
pub use gateway_route::{
    DefaultSwitch, GatewayHostnameMatch, GatewayHostnameRewrite, GatewayPathRewrite,
    GatewayPrefixRewrite, GatewayRoute, GatewayRouteSpec, GatewayRouteTarget,
    GatewayRouteVirtualService, GrpcGatewayAction, GrpcGatewayMatch, GrpcGatewayRewrite,
    GrpcGatewayRoute, HttpGatewayAction, HttpGatewayMatch, HttpGatewayRewrite, HttpGatewayRoute,
};
pub use listener::{
    ConnectionPool, Duration, DurationUnit, HealthCheck, HttpPool, HttpTimeout, ListenerTimeout,
    OutlierDetection, PortMapping, Protocol, RequestPool, TcpPool, TcpTimeout,
};
pub use logging::{AccessLog, FileAccessLog, JsonField, Logging, LoggingFormat};
pub use matching::{
    Header, HttpMethod, HttpScheme, Matcher, PathMatch, QueryMatch, QueryParameter, Range,
};
pub use mesh::{
    EgressFilter, EgressFilterType, IpPreference, Mesh, MeshServiceDiscovery, MeshSpec,
};
pub use resource::{Kind, MeshRef, Reference, Resource, VirtualGatewayRef};
pub use status::{
    Condition, GatewayRouteStatus, MeshStatus, VirtualGatewayStatus, VirtualNodeStatus,
    VirtualRouterStatus, VirtualServiceStatus,
};
pub use tls::{
    AcmCertificate, AcmTrust, BackendDefaults, Certificate, ClientPolicy, ClientTls,
    FileCertificate, FileTrust, ListenerTls, NameMatch, SdsSecret, SubjectAlternativeNames,
    TlsMode, Trust, Validation,
};
pub use virtual_gateway::{GatewayListener, VirtualGateway, VirtualGatewaySpec};
pub use virtual_node::{
    AwsCloudMap, Backend, CloudMapAttribute, Dns, DnsResponseType, Listener, ServiceDiscovery,
    VirtualNode, VirtualNodeSpec, VirtualServiceBackend,
};
pub use virtual_router::{
    GrpcRetryEvent, GrpcRoute, GrpcRouteMatch, HttpRetryEvent, HttpRoute, HttpRouteMatch,
    RetryPolicy, Route, RouteAction, RouterListener, TcpRetryEvent, TcpRoute, TcpRouteMatch,
    VirtualRouter, VirtualRouterSpec, WeightedTarget,
};
pub use virtual_service::{
    NodeProvider, Provider, RouterProvider, VirtualService, VirtualServiceSpec,
};

/// The API group of the seven kinds.
pub const GROUP: &str = "appmesh.k8s.aws";
/// The only version that is read; see [`crate::manifest`] for what is said about the others.
pub const VERSION: &str = "v1beta2";
/// Group and version as manifests write them.
pub const API_VERSION: &str = "appmesh.k8s.aws/v1beta2";
