//! The spec of a virtual gateway.

use super::{
    declare::spec,
    listener::{
        ConnectionPool, HealthCheck, PortMapping, Protocol, check_health_port, check_ports,
        check_protocol,
    },
    logging::Logging,
    references::{References, UnionOf},
    tls::{BackendDefaults, ListenerTls},
};
use crate::validation::{Validate, Validator};

spec! {
    /// A standalone proxy that lets traffic into the mesh.
    pub struct VirtualGatewaySpec<R> {
        /// Required, may be empty.
        listeners: Vec<VirtualGatewayListener<R>>,
        /// The defaults of all backends.
        backend_defaults: Option<BackendDefaults<R>>,
        /// The access log of its proxies.
        logging: Option<Logging<R>>,
    }

    /// A port of a gateway.
    pub struct VirtualGatewayListener<R> {
        /// Not TCP.
        port_mapping: PortMapping,
        /// Limits of the connections to virtual services.
        connection_pool: Option<R::Union<ConnectionPool>>,
        /// Active health check of the gateway.
        health_check: Option<HealthCheck>,
        /// TLS towards clients.
        tls: Option<ListenerTls<R>>,
    }
}

impl<R: References> Validate for VirtualGatewaySpec<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("listeners", &self.listeners);
        check_ports(
            validator,
            self.listeners.iter().map(|it| it.port_mapping.port),
        );
        validator.field("logging", &self.logging);
        validator.field("backendDefaults", &self.backend_defaults);
    }
}

impl<R: References> Validate for VirtualGatewayListener<R> {
    fn validate(&self, validator: &mut Validator) {
        let mapping = self.port_mapping;
        validator.field("portMapping", &mapping);
        refuse_tcp(validator, "portMapping", mapping.protocol);
        validator.field("healthCheck", &self.health_check);
        check_health_port(validator, mapping, self.health_check.as_ref());
        if let Some(check) = &self.health_check {
            refuse_tcp(validator, "healthCheck", check.protocol);
        }
        validator.field("connectionPool", &self.connection_pool);
        let pool = self.connection_pool.as_ref();
        if let Some(ConnectionPool::Tcp(_)) = pool.and_then(UnionOf::get) {
            validator.within("connectionPool", |validator| {
                validator.deny("tcp", NOT_TCP);
            });
        } else {
            check_protocol::<ConnectionPool>(validator, mapping, "connectionPool", pool);
        }
        validator.field("tls", &self.tls);
    }
}

const NOT_TCP: &str = "tcp is not possible on a gateway; use http, http2 or grpc";

fn refuse_tcp(validator: &mut Validator, name: &'static str, protocol: Protocol) {
    if protocol == Protocol::Tcp {
        validator.within(name, |validator| validator.deny("protocol", NOT_TCP));
    }
}
