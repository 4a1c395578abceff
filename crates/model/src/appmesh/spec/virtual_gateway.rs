//! The spec of a virtual gateway.

use super::{
    listener::{ConnectionPool, HealthCheck, Logging, PortMapping, Protocol},
    problem::{Checked, Problem},
    tls::ListenerTls,
    virtual_node::BackendDefaults,
};
use serde::{Deserialize, Serialize};

/// A standalone proxy that lets traffic into the mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualGatewaySpec {
    /// What it listens on; required, may be empty.
    pub listeners: Vec<VirtualGatewayListener>,
    /// What applies to everything behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_defaults: Option<BackendDefaults>,
    /// Its access log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
}

/// A port of a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualGatewayListener {
    /// The port; not TCP.
    pub port_mapping: PortMapping,
    /// Limits towards what is behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// How it is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

impl VirtualGatewaySpec {
    pub(crate) fn check(&self) -> Checked {
        for (i, listener) in self.listeners.iter().enumerate() {
            let at = format!("spec.listeners[{i}]");
            listener.port_mapping.check(&format!("{at}.portMapping"))?;
            let mapping = listener.port_mapping;
            if mapping.protocol == Protocol::Tcp {
                let at = format!("{at}.portMapping.protocol");
                return Err(Problem::new(at, "tcp is not one of http, http2, grpc"));
            }
            if let Some(pool) = &listener.connection_pool {
                let at = format!("{at}.connectionPool");
                if pool.protocol() != mapping.protocol {
                    let word = mapping.protocol.word();
                    let message = format!("must be for the listener's protocol, {word}");
                    return Err(Problem::new(at, message));
                }
                pool.check(&at)?;
            }
            if let Some(check) = &listener.health_check {
                check.check(&format!("{at}.healthCheck"), &mapping)?;
            }
            if let Some(tls) = &listener.tls {
                tls.check(&format!("{at}.tls"))?;
            }
        }
        if let Some(policy) = self
            .backend_defaults
            .as_ref()
            .and_then(|d| d.client_policy.as_ref())
        {
            policy.check("spec.backendDefaults.clientPolicy")?;
        }
        self.logging
            .as_ref()
            .map_or(Ok(()), |logging| logging.check("spec.logging"))
    }
}
