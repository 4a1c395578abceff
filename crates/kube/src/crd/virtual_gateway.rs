//! `VirtualGateway`: where traffic enters the mesh.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};
use super::resource::kind;
use super::{
    BackendDefaults, ConnectionPool, HealthCheck, ListenerTls, Logging, MeshRef, PortMapping,
    Protocol, VirtualGatewayStatus,
};
use crate::selector;

kind!(
    /// A gateway: the pods that its selector selects run a proxy of their own.
    VirtualGateway,
    VirtualGatewaySpec,
    VirtualGatewayStatus,
    NamespaceResourceScope
);

/// What a virtual gateway is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualGatewaySpec {
    /// Name in the mesh API; by default `<name>_<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// Namespaces whose gateway routes belong to it. Absent selects none, its own included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Which pods of its namespace it is. Absent selects none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Which gateway routes belong to it. Absent selects all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_route_selector: Option<LabelSelector>,
    /// What it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<GatewayListener>>,
    /// What its proxy logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// How it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_defaults: Option<BackendDefaults>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl VirtualGatewaySpec {
    /// The listeners, none if absent.
    pub fn listeners(&self) -> &[GatewayListener] {
        self.listeners.as_deref().unwrap_or_default()
    }
}

/// One port that a gateway serves: http, http2 or grpc.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayListener {
    /// The port and what is spoken on it.
    pub port_mapping: PortMapping,
    /// How it is probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Limits towards the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

impl Check for GatewayListener {
    fn check(&self, checker: &mut Checker) {
        let not_tcp = "tcp is not possible on a gateway; use http, http2 or grpc";
        checker.field("portMapping", &self.port_mapping);
        if self.port_mapping.protocol == Protocol::Tcp {
            checker.within("portMapping", |checker| checker.deny("protocol", not_tcp));
        }
        checker.field("healthCheck", &self.health_check);
        if self
            .health_check
            .as_ref()
            .is_some_and(|check| check.protocol == Protocol::Tcp)
        {
            checker.within("healthCheck", |checker| checker.deny("protocol", not_tcp));
        }
        checker.field("connectionPool", &self.connection_pool);
        if self
            .connection_pool
            .as_ref()
            .is_some_and(|pool| pool.tcp.is_some())
        {
            checker.within("connectionPool", |checker| checker.deny("tcp", not_tcp));
        }
        checker.field("tls", &self.tls);
    }
}

impl Check for VirtualGatewaySpec {
    fn check(&self, checker: &mut Checker) {
        selector::check(
            checker,
            "namespaceSelector",
            self.namespace_selector.as_ref(),
        );
        selector::check(checker, "podSelector", self.pod_selector.as_ref());
        selector::check(
            checker,
            "gatewayRouteSelector",
            self.gateway_route_selector.as_ref(),
        );
        checker.field("listeners", &self.listeners);
        checker.field("logging", &self.logging);
        checker.field("backendDefaults", &self.backend_defaults);
    }
}
