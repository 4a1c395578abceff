//! The spec of a virtual node.

use super::{
    listener::{
        ConnectionPool, HealthCheck, ListenerTimeout, OutlierDetection, PortMapping,
        check_health_port, check_ports, check_protocol,
    },
    logging::Logging,
    mesh::IpPreference,
    references::{Names, References, union},
    tls::{BackendDefaults, ClientPolicy, ListenerTls},
};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// A workload: its listeners, how it is found, what it calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct VirtualNodeSpec<R: References = Names> {
    /// What applies to each backend without a policy of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_defaults: Option<BackendDefaults<R>>,
    /// The virtual services that it calls. They need not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<R::Union<Backend<R>>>>,
    /// The ports that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<Listener<R>>>,
    /// The access log of its proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging<R>>,
    /// How its endpoints are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_discovery: Option<R::Union<ServiceDiscovery<R>>>,
}

/// Something that a node calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub enum Backend<R: References = Names> {
    /// A virtual service.
    VirtualService(R::VirtualServiceBackend),
}

union!(Backend<R> { VirtualService: "virtualService" });

/// A virtual service that a node calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceBackend {
    /// Its name, or its ARN.
    pub virtual_service_name: String,
    /// Overrides the defaults of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_policy: Option<ClientPolicy>,
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

impl Validate for VirtualServiceBackend {
    fn validate(&self, validator: &mut Validator) {
        validator.field("clientPolicy", &self.client_policy);
    }
}

/// A port that a node serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct Listener<R: References = Names> {
    /// Port and protocol.
    pub port_mapping: PortMapping,
    /// Limits towards the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<R::Union<ConnectionPool>>,
    /// Active health check by the clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// When clients stop using an endpoint of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// Timeouts towards the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<R::Union<ListenerTimeout>>,
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls<R>>,
}

/// How the endpoints of a node are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub enum ServiceDiscovery<R: References = Names> {
    /// In Cloud Map.
    AwsCloudMap(CloudMapDiscovery<R>),
    /// By a name.
    Dns(DnsDiscovery<R>),
}

union!(ServiceDiscovery<R> { AwsCloudMap: "awsCloudMap", Dns: "dns" });

/// Endpoints are the instances of a service that carry all of the attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct CloudMapDiscovery<R: References = Names> {
    /// The namespace; 1 to 1024 characters.
    pub namespace_name: String,
    /// The service; 1 to 1024 characters.
    pub service_name: String,
    /// All must be among an instance's attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<CloudMapAttribute>>,
    /// Which address of an instance is used.
    #[serde(
        default,
        deserialize_with = "R::read_ip_preference",
        skip_serializing_if = "Option::is_none"
    )]
    pub ip_preference: Option<R::IpPreference>,
}

/// An attribute that an instance must carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudMapAttribute {
    /// 1 to 255 characters.
    pub key: String,
    /// 1 to 1024 characters.
    pub value: String,
}

/// Endpoints are the addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct DnsDiscovery<R: References = Names> {
    /// The name; 1 to 253 characters.
    pub hostname: String,
    /// Which address family is asked for.
    #[serde(
        default,
        deserialize_with = "R::read_ip_preference",
        skip_serializing_if = "Option::is_none"
    )]
    pub ip_preference: Option<R::IpPreference>,
    /// What the answer means. Absent means `LOADBALANCER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_type: Option<DnsResponseType>,
}

/// What a DNS answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsResponseType {
    /// Addresses of one load balancer: one of them is used at a time.
    #[serde(rename = "LOADBALANCER")]
    LoadBalancer,
    /// Each address is an endpoint.
    #[serde(rename = "ENDPOINTS")]
    Endpoints,
}

impl<R: References> VirtualNodeSpec<R> {
    /// Its listeners; none when absent.
    pub fn listeners(&self) -> &[Listener<R>] {
        self.listeners.as_deref().unwrap_or_default()
    }
}

impl VirtualNodeSpec {
    /// The virtual services that it calls; none when absent.
    pub fn backends(&self) -> impl Iterator<Item = &VirtualServiceBackend> {
        self.backends
            .iter()
            .flatten()
            .map(|Backend::VirtualService(service)| service)
    }

    /// The address family that its discovery asks for, when it says one.
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
        validator.within("listeners", |validator| {
            let listeners = self.listeners().iter();
            check_ports(validator, listeners.map(|l| l.port_mapping.port));
        });
        let has_listeners = match &self.listeners {
            Some(listeners) => validator.is_kubernetes() || !listeners.is_empty(),
            None => false,
        };
        if has_listeners && self.service_discovery.is_none() {
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
        check_protocol::<ConnectionPool>(
            validator,
            mapping,
            "connectionPool",
            self.connection_pool.as_ref(),
        );
        validator.field("tls", &self.tls);
        validator.field("timeout", &self.timeout);
        check_protocol::<ListenerTimeout>(validator, mapping, "timeout", self.timeout.as_ref());
    }
}

impl<R: References> Validate for DnsDiscovery<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.length("hostname", &self.hostname, 1, 253);
    }
}

impl<R: References> Validate for CloudMapDiscovery<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.length("namespaceName", &self.namespace_name, 1, 1024);
        validator.length("serviceName", &self.service_name, 1, 1024);
        validator.field("attributes", &self.attributes);
    }
}

impl Validate for CloudMapAttribute {
    /// What Cloud Map takes: printable characters, in values also blanks, but not at the beginning.
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
