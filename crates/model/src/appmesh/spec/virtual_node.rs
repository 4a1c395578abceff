//! The spec of a virtual node.

use super::{
    declare::{spec, union},
    listener::{
        ConnectionPool, HealthCheck, ListenerTimeout, OutlierDetection, PortMapping,
        check_health_port, check_ports, check_protocol,
    },
    logging::Logging,
    mesh::IpPreference,
    references::References,
    tls::{BackendDefaults, ClientPolicy, ListenerTls},
};
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};

spec! {
    /// The spec of a virtual node, a workload: its listeners, discovery and backends.
    pub struct VirtualNodeSpec<R> {
        /// The defaults of backends without their own client policy.
        backend_defaults: Option<BackendDefaults<R>>,
        /// The virtual services that the node calls. They need not exist.
        backends: Option<Vec<R::Union<Backend<R>>>>,
        /// The ports that it serves.
        listeners: Option<Vec<Listener<R>>>,
        /// The access log of its proxies.
        logging: Option<Logging<R>>,
        /// The discovery of its endpoints.
        service_discovery: Option<R::Union<ServiceDiscovery<R>>>,
    }
}

union! {
    /// A backend that a node calls.
    pub enum Backend<R>: Validate {
        /// A virtual service.
        VirtualService(R::VirtualServiceBackend) as "virtualService",
    }
}

spec! {
    /// A virtual service that a node calls.
    pub struct VirtualServiceBackend: Validate {
        /// The name, or the ARN.
        virtual_service_name: String,
        /// Overrides the defaults of the node.
        client_policy: Option<ClientPolicy>,
    }
}

impl VirtualServiceBackend {
    /// The name of the virtual service, also where the spec holds its ARN.
    pub fn name(&self) -> &str {
        match self.virtual_service_name.split_once("/virtualService/") {
            Some((head, name)) if head.starts_with("arn:") || head.starts_with("mesh/") => name,
            _ => &self.virtual_service_name,
        }
    }
}

spec! {
    /// A port that a node serves.
    pub struct Listener<R> {
        /// Port and protocol.
        port_mapping: PortMapping,
        /// Limits of the connections to the application.
        connection_pool: Option<R::Union<ConnectionPool>>,
        /// Active health check by the clients.
        health_check: Option<HealthCheck>,
        /// The conditions under which clients eject an endpoint of this listener.
        outlier_detection: Option<OutlierDetection>,
        /// Timeouts of calls to the application.
        timeout: Option<R::Union<ListenerTimeout>>,
        /// TLS towards clients.
        tls: Option<ListenerTls<R>>,
    }
}

union! {
    /// The discovery of a node's endpoints.
    pub enum ServiceDiscovery<R>: Validate {
        /// In Cloud Map.
        AwsCloudMap(CloudMapDiscovery<R>) as "awsCloudMap",
        /// By a DNS name.
        Dns(DnsDiscovery<R>) as "dns",
    }
}

spec! {
    /// Endpoints are the instances of a service that carry all of the attributes.
    pub struct CloudMapDiscovery<R>: Validate {
        /// The namespace; 1 to 1024 characters.
        namespace_name: String [1..=1024],
        /// The service; 1 to 1024 characters.
        service_name: String [1..=1024],
        /// Attributes of which an instance must carry every one.
        attributes: Option<Vec<CloudMapAttribute>>,
        /// The family of the address that is used of each instance.
        #[serde(deserialize_with = "R::read_ip_preference")]
        ip_preference: Option<R::IpPreference>,
    }

    /// An attribute that an instance must carry.
    pub struct CloudMapAttribute {
        /// 1 to 255 characters.
        key: String [1..=255],
        /// 1 to 1024 characters.
        value: String [1..=1024],
    }

    /// Endpoints are the addresses of a name.
    pub struct DnsDiscovery<R>: Validate {
        /// The name; 1 to 253 characters.
        hostname: String [1..=253],
        /// The families of the addresses that are queried.
        #[serde(deserialize_with = "R::read_ip_preference")]
        ip_preference: Option<R::IpPreference>,
        /// The meaning of the answer. Absent means `LOADBALANCER`.
        response_type: Option<DnsResponseType>,
    }
}

string_enum! {
    /// The meaning of a DNS answer.
    pub enum DnsResponseType {
        /// Addresses of one load balancer: one of them is used at a time.
        LoadBalancer = "LOADBALANCER",
        /// Each address is an endpoint.
        Endpoints = "ENDPOINTS",
    }
}

impl<R: References> VirtualNodeSpec<R> {
    /// The listeners; none when absent.
    pub fn listeners(&self) -> &[Listener<R>] {
        self.listeners.as_deref().unwrap_or_default()
    }
}

impl VirtualNodeSpec {
    /// The virtual services that the node calls; none when absent.
    pub fn backends(&self) -> impl Iterator<Item = &VirtualServiceBackend> {
        let backends = self.backends.iter().flatten();
        backends.map(|Backend::VirtualService(service)| service)
    }

    /// The address family that the discovery asks for, if any.
    pub fn ip_preference(&self) -> Option<IpPreference> {
        match self.service_discovery.as_ref()? {
            ServiceDiscovery::AwsCloudMap(discovery) => discovery.ip_preference,
            ServiceDiscovery::Dns(discovery) => discovery.ip_preference,
        }
    }
}

impl<R: References> Validate for VirtualNodeSpec<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("listeners", &self.listeners);
        let ports = self.listeners().iter().map(|it| it.port_mapping.port);
        check_ports(validator, ports);
        // An empty list counts as none, also in Kubernetes, where AWS's webhook drops it before it looks.
        if !self.listeners().is_empty() && self.service_discovery.is_none() {
            let message = "is required, because spec.listeners is given: give awsCloudMap or dns";
            validator.deny("serviceDiscovery", message);
        }
        validator.field("serviceDiscovery", &self.service_discovery);
        validator.field("backends", &self.backends);
        validator.field("backendDefaults", &self.backend_defaults);
        validator.field("logging", &self.logging);
    }
}

impl<R: References> Validate for Listener<R> {
    fn validate(&self, validator: &mut Validator) {
        let mapping = self.port_mapping;
        validator.field("portMapping", &mapping);
        validator.field("healthCheck", &self.health_check);
        check_health_port(validator, mapping, self.health_check.as_ref());
        validator.field("outlierDetection", &self.outlier_detection);
        validator.field("connectionPool", &self.connection_pool);
        let pool = self.connection_pool.as_ref();
        check_protocol::<ConnectionPool>(validator, mapping, "connectionPool", pool);
        validator.field("tls", &self.tls);
        validator.field("timeout", &self.timeout);
        check_protocol::<ListenerTimeout>(validator, mapping, "timeout", self.timeout.as_ref());
    }
}

impl Validate for CloudMapAttribute {
    /// The bounds of attributes of instances in Cloud Map, which must not be empty here.
    fn validate(&self, validator: &mut Validator) {
        let Self { key, value } = self;
        validator.length("key", key, 1, 255);
        validator.length("value", value, 1, 1024);
        if !key.bytes().all(|b| b.is_ascii_graphic()) {
            validator.deny("key", format!("{key:?} must be printable characters"));
        }
        let is_legal = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
        if value.starts_with([' ', '\t']) || !value.bytes().all(is_legal) {
            validator.deny(
                "value",
                format!("{value:?} must be printable characters, and blanks after the first"),
            );
        }
        if key.starts_with("AWS_") {
            let message = format!("{key} is reserved: keys must not start with AWS_");
            validator.deny("key", message);
        }
    }
}
