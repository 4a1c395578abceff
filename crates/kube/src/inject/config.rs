//! The operator's settings of injection.

use super::identity::Identity;
use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Destinations that are never redirected, comma-separated: the addresses at which programs find their credentials
/// and their machine. In order: instance metadata of EC2 over IPv4 and IPv6, the Pod Identity agent of EKS over both,
/// the credentials of an ECS task.
pub const IGNORED_IPS: &str =
    "169.254.169.254,fd00:ec2::254,169.254.170.23,fd00:ec2::23,169.254.170.2";
/// The port at which Tombolo's sidecar shows its readiness and its statistics to other hosts.
pub const STATS_PORT: u16 = 15020;

/// Which program a sidecar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// Tombolo's own.
    Tombolo,
    /// An Envoy, in an image that takes the variables of App Mesh's.
    Envoy,
}

impl ProxyKind {
    /// The kind of this name, in whatever case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "tombolo" => Some(Self::Tombolo),
            "envoy" => Some(Self::Envoy),
            _ => None,
        }
    }
}

/// The container of a proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// Which program it is.
    pub kind: ProxyKind,
    /// The image of the container.
    pub image: String,
    /// The arguments of the container; none leaves those of the image.
    pub args: Vec<String>,
    /// The port of its statistics.
    pub stats_port: u16,
    /// The readiness probe. Where sidecars are native, the application starts once it succeeds.
    pub probe: Probe,
    /// The `preStop` hook, in which clients learn that the pod ends. A native sidecar has none: it ends after the
    /// application.
    pub pre_stop: Option<LifecycleHandler>,
    /// A command that holds the application back until the proxy is ready. Given, the proxy's container
    /// comes first and runs it after its start. A native sidecar has none: its start is awaited anyway.
    pub post_start: Option<Vec<String>>,
    /// Variables of this kind of proxy, in this order.
    pub env: Vec<(String, String)>,
    /// Variables of this kind of proxy whose values are fields of the pod, such as `metadata.name`.
    pub env_from_fields: Vec<(String, String)>,
    /// Whether the container gives up every privilege that the `restricted` pod security standard forbids.
    pub restricted: bool,
}

impl Sidecar {
    /// An Envoy in the original's image, with the original's probe and hooks.
    pub fn envoy(image: impl Into<String>, admin_port: u16) -> Self {
        Self {
            kind: ProxyKind::Envoy,
            image: image.into(),
            args: Vec::new(),
            stats_port: admin_port,
            probe: default_sidecar_probe(admin_port),
            pre_stop: Some(default_pre_stop(DEFAULT_PRE_STOP_SECONDS)),
            post_start: None,
            env: Vec::new(),
            env_from_fields: Vec::new(),
            restricted: false,
        }
    }

    /// Tombolo's own proxy. It needs no shell in its image: the kubelet asks it for its readiness over HTTP.
    pub fn tombolo(image: impl Into<String>) -> Self {
        Self {
            kind: ProxyKind::Tombolo,
            image: image.into(),
            args: vec!["proxy".to_owned()],
            stats_port: STATS_PORT,
            probe: Probe {
                http_get: Some(HTTPGetAction {
                    path: Some("/ready".to_owned()),
                    port: IntOrString::Int(i32::from(STATS_PORT)),
                    ..HTTPGetAction::default()
                }),
                period_seconds: Some(5),
                timeout_seconds: Some(1),
                failure_threshold: Some(3),
                ..Probe::default()
            },
            // It drains by itself when it is asked to end.
            pre_stop: None,
            post_start: None,
            env: vec![(
                "TOMBOLO_METRICS_ADDRESS".to_owned(),
                format!("[::]:{STATS_PORT}"),
            )],
            env_from_fields: vec![("TOMBOLO_POD".to_owned(), "metadata.name".to_owned())],
            restricted: true,
        }
    }
}

/// The operator's settings of injection. The defaults are those of the original controller, except for the
/// images, which have none, and for [`IGNORED_IPS`] and [`InjectConfig::strict`].
#[derive(Clone, Debug)]
pub struct InjectConfig {
    /// The proxy of pods and namespaces that choose none.
    pub sidecar: Sidecar,
    /// The proxy that pods and namespaces may choose instead.
    pub other_sidecar: Option<Sidecar>,
    /// Whether the proxy is a native sidecar, an init container that runs on: it starts before the application and ends
    /// after it, and a Job ends although it runs. Clusters have them since Kubernetes 1.29.
    pub native_sidecars: bool,
    /// How long a native sidecar may take to start, in seconds, before it is started again.
    pub start_timeout_seconds: u16,
    /// Whether a pod that nothing selects is denied although no controller owns it, as the original did.
    pub strict: bool,
    /// Image of the init container that redirects traffic.
    pub init_image: String,
    /// The arguments of the container; none leaves those of the image.
    pub init_args: Vec<String>,
    /// Region of the mesh.
    pub region: String,
    /// Account of this control plane. A mesh of another owner is named with its account.
    pub account_id: String,
    /// The xDS server, as `host:port`, or `https://host:port` for TLS. `None` keeps the image's default.
    pub xds_endpoint: Option<String>,
    /// How pods prove to that server who their proxies are; `None` where it does not ask.
    pub identity: Option<Identity>,
    /// The proxy's admin port.
    pub admin_port: u16,
    /// The proxy's admin log.
    pub admin_log_file: String,
    /// Whether the admin port listens on IPv6.
    pub admin_ipv6: bool,
    /// The proxy's log level.
    pub log_level: String,
    /// Whether the proxy requests preview features.
    pub preview: bool,
    /// Whether the proxy uses dual-stack endpoints.
    pub dual_stack_endpoint: bool,
    /// Whether the proxy uses FIPS endpoints.
    pub fips_endpoint: bool,
    /// Requests and limits of the proxy, the daemon and the init container.
    pub resources: Resources,
    /// Destinations that are never redirected, comma-separated.
    pub ignored_ips: String,
    /// Destination ports that are never redirected, comma-separated.
    pub ignored_ports: String,
    /// Path of the secret discovery socket on the host, if secrets are served there.
    pub sds_socket: Option<String>,
    /// The tracer of the proxies.
    pub tracing: Tracing,
    /// Whether statistics carry tags.
    pub stats_tags: bool,
    /// The StatsD server of the proxies.
    pub statsd: Option<Statsd>,
    /// Whether a pod with Cloud Map discovery becomes ready only once it is registered.
    pub cloud_map_readiness_gate: bool,
    /// Whether the pod's files are readable by the proxy's user.
    pub iam_for_service_accounts: bool,
    /// Secret with which images are pulled.
    pub image_pull_secret: Option<String>,
    /// Version of Kubernetes, for the proxy's own reports.
    pub kubernetes_version: String,
    /// Version of the controller, for the proxy's own reports.
    pub controller_version: String,
    /// Further environment variables for the proxy, in this order. Pods cannot override them.
    pub extra_env: Vec<(String, String)>,
}

/// Requests and limits of a container, as Kubernetes quantities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Requested CPU.
    pub cpu_request: Option<String>,
    /// Requested memory.
    pub memory_request: Option<String>,
    /// CPU limit.
    pub cpu_limit: Option<String>,
    /// Memory limit.
    pub memory_limit: Option<String>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu_request: Some("10m".to_owned()),
            memory_request: Some("32Mi".to_owned()),
            cpu_limit: None,
            memory_limit: None,
        }
    }
}

/// The tracer of a proxy, which has at most one.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Tracing {
    /// None.
    #[default]
    Off,
    /// An X-Ray daemon in the pod.
    Xray(XrayDaemon),
    /// A Jaeger collector.
    Jaeger {
        /// Host name or address, or `ref:status.hostIP` for the pod's host.
        address: String,
        /// Port.
        port: u16,
    },
    /// A Datadog agent.
    Datadog {
        /// Host name or address, or `ref:status.hostIP` for the pod's host.
        address: String,
        /// Port.
        port: u16,
    },
}

/// The tracing daemon beside a proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct XrayDaemon {
    /// Image of the daemon.
    pub image: String,
    /// UDP port it listens on.
    pub port: u16,
    /// Share of traced requests: a number from 0 to 1, rounded to two decimals.
    pub sampling_rate: String,
    /// `dev`, `debug`, `info`, `warn` or `error`; any other value gives no argument.
    pub log_level: Option<String>,
    /// Role the daemon assumes.
    pub role_arn: Option<String>,
}

impl XrayDaemon {
    /// A daemon of `image` with the original's settings: port 2000, 5 % of requests.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            port: 2000,
            sampling_rate: "0.05".to_owned(),
            log_level: None,
            role_arn: None,
        }
    }
}

/// A StatsD server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statsd {
    /// Host, or `ref:status.hostIP` for the pod's host.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Path of a socket, instead of address and port.
    pub socket_path: Option<String>,
}

impl InjectConfig {
    /// The original's settings with these images, for a mesh of this region and account.
    pub fn new(
        sidecar_image: impl Into<String>,
        init_image: impl Into<String>,
        region: impl Into<String>,
        account_id: impl Into<String>,
    ) -> Self {
        let admin_port = 9901;
        Self {
            sidecar: Sidecar::envoy(sidecar_image, admin_port),
            other_sidecar: None,
            native_sidecars: false,
            start_timeout_seconds: 180,
            strict: false,
            init_image: init_image.into(),
            init_args: Vec::new(),
            region: region.into(),
            account_id: account_id.into(),
            xds_endpoint: None,
            identity: None,
            admin_port,
            admin_log_file: "/tmp/envoy_admin_access.log".to_owned(),
            admin_ipv6: false,
            log_level: "info".to_owned(),
            preview: false,
            dual_stack_endpoint: false,
            fips_endpoint: false,
            resources: Resources::default(),
            ignored_ips: IGNORED_IPS.to_owned(),
            ignored_ports: "22".to_owned(),
            sds_socket: None,
            tracing: Tracing::Off,
            stats_tags: false,
            statsd: None,
            cloud_map_readiness_gate: true,
            iam_for_service_accounts: true,
            image_pull_secret: None,
            kubernetes_version: String::new(),
            controller_version: String::new(),
            extra_env: Vec::new(),
        }
    }
}

/// The original's probe: the proxy's admin port reports LIVE. Needs `sh`, `curl` and `grep` in the image.
pub fn default_sidecar_probe(admin_port: u16) -> Probe {
    let script =
        format!("curl -s http://localhost:{admin_port}/server_info | grep state | grep -q LIVE");
    Probe {
        exec: Some(ExecAction {
            command: Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
        }),
        initial_delay_seconds: Some(1),
        period_seconds: Some(10),
        timeout_seconds: Some(1),
        success_threshold: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

const DEFAULT_PRE_STOP_SECONDS: u32 = 20;

/// The original's `preStop` hook: sleeps, in which clients learn that the pod ends. Needs `sh` in the image.
pub fn default_pre_stop(seconds: u32) -> LifecycleHandler {
    LifecycleHandler {
        exec: Some(ExecAction {
            command: Some(vec![
                "sh".to_owned(),
                "-c".to_owned(),
                format!("sleep {seconds}"),
            ]),
        }),
        ..LifecycleHandler::default()
    }
}
