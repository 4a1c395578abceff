//! `VirtualNode`: a workload, how it is found, and whom it calls.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};
use super::resource::kind;
use super::{
    BackendDefaults, ClientPolicy, ConnectionPool, HealthCheck, ListenerTimeout, ListenerTls,
    Logging, MeshRef, OutlierDetection, PortMapping, Reference, VirtualNodeStatus,
};
use crate::selector;

kind!(
    /// A workload of the mesh: the pods that its selector selects.
    VirtualNode,
    VirtualNodeSpec,
    VirtualNodeStatus,
    NamespaceResourceScope
);

/// What a virtual node is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualNodeSpec {
    /// Name in the mesh API; by default `<name>_<namespace>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<String>,
    /// Which pods of the namespace it is. Absent selects none, `{}` all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// What it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<Listener>>,
    /// How others find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_discovery: Option<ServiceDiscovery>,
    /// Whom it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
    /// Whom it calls, by group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_groups: Option<Vec<Reference>>,
    /// How it calls, unless a backend says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_defaults: Option<BackendDefaults>,
    /// What its proxy logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// Its mesh; written at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_ref: Option<MeshRef>,
}

impl VirtualNodeSpec {
    /// The listeners, none if absent.
    pub fn listeners(&self) -> &[Listener] {
        self.listeners.as_deref().unwrap_or_default()
    }

    /// The Cloud Map service it is found by, if any.
    pub fn cloud_map(&self) -> Option<&AwsCloudMap> {
        self.service_discovery.as_ref()?.aws_cloud_map.as_ref()
    }
}

/// One port that a virtual node serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The port and what is spoken on it.
    pub port_mapping: PortMapping,
    /// How clients probe it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// When clients stop using an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// Limits towards the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Timeouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<ListenerTimeout>,
}

impl Check for Listener {
    fn check(&self, checker: &mut Checker) {
        checker.field("portMapping", &self.port_mapping);
        checker.field("healthCheck", &self.health_check);
        checker.field("outlierDetection", &self.outlier_detection);
        checker.field("connectionPool", &self.connection_pool);
        checker.field("tls", &self.tls);
        checker.field("timeout", &self.timeout);
    }
}

/// How others find a virtual node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDiscovery {
    /// By instances of a Cloud Map service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_cloud_map: Option<AwsCloudMap>,
    /// By a DNS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
}

/// A Cloud Map service, and which of its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsCloudMap {
    /// Its namespace.
    pub namespace_name: String,
    /// Its name, 1 to 1024 characters.
    pub service_name: String,
    /// What an instance must carry to be meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<CloudMapAttribute>>,
}

/// An attribute of a Cloud Map instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudMapAttribute {
    /// 1 to 255 characters.
    pub key: String,
    /// 1 to 1024 characters.
    pub value: String,
}

/// A DNS name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dns {
    /// The name.
    pub hostname: String,
    /// What its addresses stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_type: Option<DnsResponseType>,
}

/// What the addresses behind a DNS name stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DnsResponseType {
    /// Each is an endpoint.
    Endpoints,
    /// Together they are one load balancer.
    LoadBalancer,
}

impl Check for ServiceDiscovery {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("awsCloudMap", self.aws_cloud_map.is_some()),
            ("dns", self.dns.is_some()),
        ]);
        if let Some(cloud_map) = &self.aws_cloud_map {
            checker.within("awsCloudMap", |checker| {
                checker.length("namespaceName", &cloud_map.namespace_name, 1, 1024);
                checker.length("serviceName", &cloud_map.service_name, 1, 1024);
                checker.each(
                    "attributes",
                    cloud_map.attributes.as_deref().unwrap_or_default(),
                    |checker, attribute| {
                        checker.length("key", &attribute.key, 1, 255);
                        checker.length("value", &attribute.value, 1, 1024);
                    },
                );
            });
        }
        if let Some(dns) = &self.dns {
            checker.within("dns", |checker| {
                checker.length("hostname", &dns.hostname, 1, usize::MAX)
            });
        }
    }
}

/// Someone a virtual node calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// The virtual service called.
    pub virtual_service: VirtualServiceBackend,
}

/// A virtual service that is called: by reference inside the cluster, or by ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceBackend {
    /// An object of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_service_ref: Option<Reference>,
    /// One of another cluster or account.
    #[serde(
        rename = "virtualServiceARN",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub virtual_service_arn: Option<String>,
    /// How it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_policy: Option<ClientPolicy>,
}

impl Check for Backend {
    fn check(&self, checker: &mut Checker) {
        checker.within("virtualService", |checker| {
            let service = &self.virtual_service;
            check_target(
                checker,
                "virtualService",
                service.virtual_service_ref.as_ref(),
                service.virtual_service_arn.as_ref(),
            );
            checker.field("clientPolicy", &service.client_policy);
        });
    }
}

/// A target given as `<what>Ref` or `<what>ARN` at the current path. Both may be given: the ARN wins.
pub(super) fn check_target(
    checker: &mut Checker,
    what: &str,
    reference: Option<&Reference>,
    arn: Option<&String>,
) {
    match (reference, arn) {
        (None, None) => checker.deny_here(format!("needs {what}Ref or {what}ARN")),
        (Some(reference), None) if reference.name.is_empty() => {
            checker.within(&format!("{what}Ref"), |checker| {
                checker.deny("name", "must not be empty")
            });
        }
        _ => {}
    }
}

impl Check for VirtualNodeSpec {
    fn check(&self, checker: &mut Checker) {
        selector::check(checker, "podSelector", self.pod_selector.as_ref());
        checker.field("listeners", &self.listeners);
        checker.field("serviceDiscovery", &self.service_discovery);
        checker.field("backends", &self.backends);
        checker.field("backendDefaults", &self.backend_defaults);
        checker.field("logging", &self.logging);
    }
}
