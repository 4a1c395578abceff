//! The spec of a virtual node.

use super::{
    listener::{
        ConnectionPool, HealthCheck, ListenerTimeout, Logging, OutlierDetection, PortMapping,
    },
    mesh::IpPreference,
    problem::{Checked, Problem, text},
    tls::{ClientPolicy, ListenerTls},
};
use serde::{Deserialize, Serialize};

/// A workload: its listeners, how it is found, what it calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualNodeSpec {
    /// What applies to each backend without a policy of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_defaults: Option<BackendDefaults>,
    /// The virtual services that it calls. They need not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
    /// What it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<Listener>>,
    /// Its access log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// How its endpoints are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_discovery: Option<ServiceDiscovery>,
}

/// What applies to each backend without a policy of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendDefaults {
    /// The client policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_policy: Option<ClientPolicy>,
}

/// Something that a node calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backend {
    /// A virtual service.
    VirtualService(VirtualServiceBackend),
}

/// A virtual service that a node calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceBackend {
    /// Its name, or its ARN.
    pub virtual_service_name: String,
    /// What is demanded of it.
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

/// A port that a node serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The port.
    pub port_mapping: PortMapping,
    /// Limits towards the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// How clients check it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// When clients stop using an endpoint of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// Timeouts towards the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<ListenerTimeout>,
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

/// How the endpoints of a node are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceDiscovery {
    /// In the registry.
    AwsCloudMap(CloudMapDiscovery),
    /// By a name.
    Dns(DnsDiscovery),
}

/// Endpoints are the instances of a service that carry all of the attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudMapDiscovery {
    /// The namespace; 1 to 1024 characters.
    pub namespace_name: String,
    /// The service; 1 to 1024 characters.
    pub service_name: String,
    /// What an instance must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<CloudMapAttribute>>,
    /// Which address of an instance is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_preference: Option<IpPreference>,
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
#[serde(rename_all = "camelCase")]
pub struct DnsDiscovery {
    /// The name.
    pub hostname: String,
    /// Which address family is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_preference: Option<IpPreference>,
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

impl VirtualNodeSpec {
    /// Its listeners; none when absent.
    pub fn listeners(&self) -> &[Listener] {
        self.listeners.as_deref().unwrap_or_default()
    }

    /// The virtual services that it calls; none when absent.
    pub fn backends(&self) -> impl Iterator<Item = &VirtualServiceBackend> {
        self.backends
            .iter()
            .flatten()
            .map(|Backend::VirtualService(service)| service)
    }

    pub(crate) fn check(&self) -> Checked {
        for (i, listener) in self.listeners().iter().enumerate() {
            listener.check(&format!("spec.listeners[{i}]"))?;
            let port = listener.port_mapping.port;
            if self.listeners()[..i]
                .iter()
                .any(|other| other.port_mapping.port == port)
            {
                return Err(Problem::new(
                    format!("spec.listeners[{i}].portMapping.port"),
                    format!("{port} is used by another listener"),
                ));
            }
        }
        if !self.listeners().is_empty() && self.service_discovery.is_none() {
            return Err(Problem::new(
                "spec.serviceDiscovery",
                "must be given when there are listeners",
            ));
        }
        match &self.service_discovery {
            Some(ServiceDiscovery::AwsCloudMap(discovery)) => discovery.check()?,
            Some(ServiceDiscovery::Dns(discovery)) => {
                text(
                    "spec.serviceDiscovery.dns.hostname",
                    &discovery.hostname,
                    1..=253,
                )?;
            }
            None => {}
        }
        if let Some(policy) = self
            .backend_defaults
            .as_ref()
            .and_then(|d| d.client_policy.as_ref())
        {
            policy.check("spec.backendDefaults.clientPolicy")?;
        }
        for (i, backend) in self.backends().enumerate() {
            if let Some(policy) = &backend.client_policy {
                policy.check(&format!("spec.backends[{i}].virtualService.clientPolicy"))?;
            }
        }
        self.logging
            .as_ref()
            .map_or(Ok(()), |logging| logging.check("spec.logging"))
    }
}

impl Listener {
    fn check(&self, at: &str) -> Checked {
        self.port_mapping.check(&format!("{at}.portMapping"))?;
        let protocol = self.port_mapping.protocol;
        let same_protocol = |field: &str, other| {
            if other == protocol {
                return Ok(());
            }
            Err(Problem::new(
                format!("{at}.{field}"),
                format!("must be for the listener's protocol, {}", protocol.word()),
            ))
        };
        if let Some(pool) = &self.connection_pool {
            same_protocol("connectionPool", pool.protocol())?;
            pool.check(&format!("{at}.connectionPool"))?;
        }
        if let Some(timeout) = &self.timeout {
            same_protocol("timeout", timeout.protocol())?;
        }
        if let Some(check) = &self.health_check {
            check.check(&format!("{at}.healthCheck"), &self.port_mapping)?;
        }
        if let Some(detection) = &self.outlier_detection {
            detection.check(&format!("{at}.outlierDetection"))?;
        }
        self.tls
            .as_ref()
            .map_or(Ok(()), |tls| tls.check(&format!("{at}.tls")))
    }
}

impl CloudMapDiscovery {
    fn check(&self) -> Checked {
        let at = "spec.serviceDiscovery.awsCloudMap";
        text(
            &format!("{at}.namespaceName"),
            &self.namespace_name,
            1..=1024,
        )?;
        text(&format!("{at}.serviceName"), &self.service_name, 1..=1024)?;
        for (i, attribute) in self.attributes.iter().flatten().enumerate() {
            let at = format!("{at}.attributes[{i}]");
            text(&format!("{at}.key"), &attribute.key, 1..=255)?;
            text(&format!("{at}.value"), &attribute.value, 1..=1024)?;
            attribute.check_characters(&at)?;
            if attribute.key.starts_with("AWS_") {
                return Err(Problem::new(
                    format!("{at}.key"),
                    format!(
                        "{} is reserved: keys must not start with AWS_",
                        attribute.key
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl CloudMapAttribute {
    /// What the registry takes: printable characters, in values also blanks, but not at the beginning.
    fn check_characters(&self, at: &str) -> Checked {
        if !self.key.bytes().all(|b| b.is_ascii_graphic()) {
            let message = format!("{:?} must be printable characters", self.key);
            return Err(Problem::new(format!("{at}.key"), message));
        }
        let is_legal = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
        if self.value.starts_with([' ', '\t']) || !self.value.bytes().all(is_legal) {
            let message = format!(
                "{:?} must be printable characters, and blanks after the first",
                self.value
            );
            return Err(Problem::new(format!("{at}.value"), message));
        }
        Ok(())
    }
}
