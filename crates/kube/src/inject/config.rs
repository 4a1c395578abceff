//! The operator's settings of injection.

use super::identity::Identity;
use k8s_openapi::api::core::v1::{ExecAction, LifecycleHandler, Probe};

/// The operator's settings of injection. The defaults are those of the original controller, except for the images,
/// which have none.
#[derive(Clone, Debug)]
pub struct InjectConfig {
    /// Image of the proxy.
    pub sidecar_image: String,
    /// Image of the init container that redirects traffic.
    pub init_image: String,
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
    /// The proxy's readiness probe. The original runs a shell with `curl` inside the image; another image needs a
    /// different probe.
    pub sidecar_probe: Probe,
    /// The proxy's `preStop` hook, during which clients learn of the pod's removal.
    pub pre_stop: Option<LifecycleHandler>,
    /// A command that delays the application until the proxy is ready. If set, the proxy's container comes first and
    /// runs it after its start.
    pub post_start: Option<Vec<String>>,
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
        /// Host name or address.
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
            sidecar_image: sidecar_image.into(),
            init_image: init_image.into(),
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
            sidecar_probe: default_sidecar_probe(admin_port),
            pre_stop: Some(default_pre_stop()),
            post_start: None,
            ignored_ips: "169.254.169.254".to_owned(),
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

/// The original's `preStop` hook: sleeps 20 seconds, during which clients learn of the pod's removal. Needs `sh` in
/// the image.
pub fn default_pre_stop() -> LifecycleHandler {
    LifecycleHandler {
        exec: Some(ExecAction {
            command: Some(vec![
                "sh".to_owned(),
                "-c".to_owned(),
                "sleep 20".to_owned(),
            ]),
        }),
        ..LifecycleHandler::default()
    }
}
