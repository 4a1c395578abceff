//! `tombolo webhook`: its options. Where AWS's controller has one, it has the same name and default.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use tombolo_kube::admit::IpFamily;
use tombolo_kube::inject::{
    IGNORED_IPS, InjectConfig, Resources, Sidecar, Statsd, Tracing, XrayDaemon, default_pre_stop,
    default_sidecar_probe,
};

use super::decide::Policy;
use super::own_certificate::{Places, TlsPolicy};

/// The first minor version of Kubernetes 1 whose clusters have native sidecars.
const NATIVE_SIDECARS_SINCE: u32 = 29;

const ENVOY_IMAGE: &str = "public.ecr.aws/appmesh/aws-appmesh-envoy:v1.34.13.3-prod";

/// A combination of options that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{option}: {problem}")]
pub struct OptionsError {
    option: &'static str,
    problem: String,
}

fn wrong(option: &'static str, problem: impl Into<String>) -> OptionsError {
    OptionsError {
        option,
        problem: problem.into(),
    }
}

/// Run the admission webhooks of a Kubernetes cluster: pods get their sidecar, mesh objects their defaults, their
/// membership and a verdict. Talks to the API server of the pod it runs in, or of the kubeconfig.
#[derive(Args, Clone, Debug)]
// The command that holds these options has the same name.
#[group(skip)]
pub struct Webhook {
    /// What is logged: debug, info, warn or error.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// The port of the webhooks.
    #[arg(long, value_name = "PORT", default_value_t = 9443)]
    webhook_port: u16,
    /// The port of /healthz and /readyz.
    #[arg(long, value_name = "PORT", default_value_t = 61779)]
    health_probe_port: u16,
    /// The address of /metrics, as HOST:PORT or :PORT.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    metrics_addr: SocketAddr,
    /// A directory with tls.crt and tls.key that somebody else renews, such as cert-manager, who also writes caBundle.
    /// Without it the webhook makes its certificate itself.
    #[arg(long, value_name = "DIR")]
    pub(super) webhook_cert_dir: Option<PathBuf>,
    /// The oldest version of TLS that is spoken.
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS12")]
    tls_min_version: TlsVersion,
    /// Cipher suites of TLS 1.2, with commas between, by their IANA names; those of TLS 1.3 cannot be chosen.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tls_cipher_suite: Vec<String>,
    /// The namespace of the Secret and of the Service.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE",
        default_value = "appmesh-system"
    )]
    certificate_namespace: String,
    /// The Secret in which replicas share the authority of their certificates.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "appmesh-controller-webhook-ca"
    )]
    certificate_secret: String,
    /// The Service by which the API server reaches the webhooks.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "appmesh-controller-webhook-service"
    )]
    webhook_service: String,
    /// More names and addresses for which the certificate is valid.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    certificate_name: Vec<String>,
    /// A MutatingWebhookConfiguration whose caBundle is kept right; may be given several times.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    mutating_configuration: Vec<String>,
    /// A ValidatingWebhookConfiguration whose caBundle is kept right; may be given several times.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    validating_configuration: Vec<String>,
    /// The address family of the cluster's pods; meshes get it as their preference.
    #[arg(long, value_name = "FAMILY", default_value = "ipv4")]
    ip_family: Family,
    #[command(flatten)]
    inject: InjectOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TlsVersion {
    #[value(name = "VersionTLS12")]
    Tls12,
    #[value(name = "VersionTLS13")]
    Tls13,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Tombolo,
    Envoy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Native {
    /// Where the cluster has them.
    Auto,
    Enabled,
    Disabled,
}

/// How pods are injected.
#[derive(Args, Clone, Debug)]
pub struct InjectOptions {
    /// The sidecar of pods and namespaces that choose none by tombolo.dev/sidecar.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "tombolo",
        help_heading = "Sidecar"
    )]
    sidecar_proxy: Kind,
    /// Its image. An image of the name aws-appmesh-envoy is an Envoy, whatever --sidecar-proxy says.
    #[arg(long, value_name = "IMAGE", help_heading = "Sidecar")]
    sidecar_image: Option<String>,
    /// The repository of its image, in place of --sidecar-image.
    #[arg(
        long,
        value_name = "REPOSITORY",
        requires = "sidecar_image_tag",
        conflicts_with = "sidecar_image",
        help_heading = "Sidecar"
    )]
    sidecar_image_repository: Option<String>,
    /// The tag of its image, with --sidecar-image-repository.
    #[arg(long, value_name = "TAG", help_heading = "Sidecar")]
    sidecar_image_tag: Option<String>,
    /// The image of Tombolo's sidecar, for who chooses it; by default that of the sidecar or of the init container.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "TOMBOLO_IMAGE",
        help_heading = "Sidecar"
    )]
    tombolo_image: Option<String>,
    /// The image of Envoy, for who chooses it.
    #[arg(long, value_name = "IMAGE", default_value = ENVOY_IMAGE, help_heading = "Sidecar")]
    envoy_image: String,
    /// The image of the init container that redirects traffic; by default Tombolo's. One of the name
    /// aws-appmesh-proxy-route-manager is AWS's.
    #[arg(long, value_name = "IMAGE", help_heading = "Sidecar")]
    init_image: Option<String>,
    /// Sidecars as init containers that run on (Kubernetes 1.29): they start before the application and end after it.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Sidecar"
    )]
    native_sidecars: Native,
    /// Deny every pod that nothing selects where injection is enabled, also those that no controller owns.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    strict_injection: bool,
    /// The xDS server of the sidecars, as HOST:PORT.
    #[arg(long, value_name = "ADDRESS", help_heading = "Sidecar")]
    xds_endpoint: Option<String>,
    /// More variables of the sidecars, as NAME=VALUE; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, help_heading = "Sidecar")]
    sidecar_env: Vec<(String, String)>,
    /// The region of the mesh.
    #[arg(
        long,
        env = "AWS_REGION",
        default_value = "us-west-2",
        help_heading = "Sidecar"
    )]
    aws_region: String,
    /// The account of the mesh: twelve digits.
    #[arg(
        long,
        value_name = "ID",
        default_value = "123456789012",
        help_heading = "Sidecar"
    )]
    aws_account_id: String,
    /// The name of this cluster, by which sidecars say where they are.
    #[arg(long, value_name = "NAME", help_heading = "Sidecar")]
    cluster_name: Option<String>,
    /// Destinations that are never redirected, with commas between.
    #[arg(long, value_name = "ADDRESSES", default_value = IGNORED_IPS, help_heading = "Sidecar")]
    ignored_ips: String,
    /// Processor time that a sidecar asks for.
    #[arg(
        long,
        value_name = "QUANTITY",
        default_value = "10m",
        help_heading = "Sidecar"
    )]
    sidecar_cpu_requests: String,
    /// Memory that a sidecar asks for.
    #[arg(
        long,
        value_name = "QUANTITY",
        default_value = "32Mi",
        help_heading = "Sidecar"
    )]
    sidecar_memory_requests: String,
    /// Processor time of a sidecar at most.
    #[arg(
        long,
        value_name = "QUANTITY",
        default_value = "",
        help_heading = "Sidecar"
    )]
    sidecar_cpu_limits: String,
    /// Memory of a sidecar at most.
    #[arg(
        long,
        value_name = "QUANTITY",
        default_value = "",
        help_heading = "Sidecar"
    )]
    sidecar_memory_limits: String,
    /// The log level of sidecars.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        help_heading = "Sidecar"
    )]
    sidecar_log_level: String,
    /// The preview channel of App Mesh.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    preview: bool,
    /// Seconds that an Envoy waits when its pod ends, where sidecars are not native.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 20,
        help_heading = "Sidecar"
    )]
    prestop_delay: u32,
    /// Seconds after which an Envoy is probed for the first time.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1,
        help_heading = "Sidecar"
    )]
    readiness_probe_initial_delay: u16,
    /// Seconds between two probes of an Envoy.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        help_heading = "Sidecar"
    )]
    readiness_probe_period: u16,
    /// Start the application once the sidecar is ready. Native sidecars do that anyway.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    wait_until_proxy_ready: bool,
    /// Seconds that a sidecar may take to be ready.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 180,
        help_heading = "Sidecar"
    )]
    poststart_timeout: u16,
    /// Seconds between two looks at a sidecar that is not ready yet; native ones are looked at each second.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        help_heading = "Sidecar"
    )]
    poststart_interval: u16,
    /// The admin port of sidecars.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 9901,
        help_heading = "Sidecar"
    )]
    envoy_admin_access_port: u16,
    /// The admin log of sidecars.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/tmp/envoy_admin_access.log",
        help_heading = "Sidecar"
    )]
    envoy_admin_access_log_file: String,
    /// The admin port listens on IPv6.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    envoy_admin_access_enable_ipv6: bool,
    /// Sidecars use dual-stack endpoints.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    dual_stack_endpoint: bool,
    /// Sidecars use FIPS endpoints.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    fips_endpoint: bool,
    /// Static credentials of sidecars, for tests.
    #[arg(long, value_name = "ID", default_value = "", help_heading = "Sidecar")]
    envoy_aws_access_key_id: String,
    /// Static credentials of sidecars, for tests.
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        env = "TOMBOLO_SIDECAR_SECRET_ACCESS_KEY",
        hide_env_values = true,
        help_heading = "Sidecar"
    )]
    envoy_aws_secret_access_key: String,
    /// Static credentials of sidecars, for tests.
    #[arg(
        long,
        value_name = "TOKEN",
        default_value = "",
        env = "TOMBOLO_SIDECAR_SESSION_TOKEN",
        hide_env_values = true,
        help_heading = "Sidecar"
    )]
    envoy_aws_session_token: String,
    /// Sidecars find secrets at a socket of their host.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    enable_sds: bool,
    /// That socket.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/spire/sockets/agent.sock",
        help_heading = "Sidecar"
    )]
    sds_uds_path: String,
    /// Pods give the files of their volumes to the sidecar's group.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set, help_heading = "Sidecar")]
    enable_iam_for_service_accounts: bool,
    /// Images are pulled with the Secret appmesh-ecr-secret.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Sidecar")]
    enable_ecr_secret: bool,
    /// Trace with an X-Ray daemon beside the sidecar.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Tracing")]
    enable_xray_tracing: bool,
    /// The image of the X-Ray daemon.
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "public.ecr.aws/xray/aws-xray-daemon:latest",
        help_heading = "Tracing"
    )]
    xray_image: String,
    /// The port of the X-Ray daemon.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 2000,
        help_heading = "Tracing"
    )]
    xray_daemon_port: u16,
    /// The share of requests that are traced: a number from 0 to 1.
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "0.05",
        help_heading = "Tracing"
    )]
    xray_sampling_rate: String,
    /// The log level of the X-Ray daemon.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "prod",
        help_heading = "Tracing"
    )]
    xray_log_level: String,
    /// The role that the X-Ray daemon assumes.
    #[arg(
        long = "xray-config-roleArn",
        value_name = "ARN",
        default_value = "",
        help_heading = "Tracing"
    )]
    xray_config_role_arn: String,
    /// Trace to a Jaeger collector.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Tracing")]
    enable_jaeger_tracing: bool,
    /// The Jaeger collector, or ref:status.hostIP for the pod's host.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "appmesh-jaeger.appmesh-system",
        help_heading = "Tracing"
    )]
    jaeger_address: String,
    /// Its port.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 9411,
        help_heading = "Tracing"
    )]
    jaeger_port: u16,
    /// Trace to a Datadog agent.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Tracing")]
    enable_datadog_tracing: bool,
    /// The Datadog agent, or ref:status.hostIP for the pod's host.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "datadog.appmesh-system",
        help_heading = "Tracing"
    )]
    datadog_address: String,
    /// Its port.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 8126,
        help_heading = "Tracing"
    )]
    datadog_port: u16,
    /// Statistics carry tags.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Tracing")]
    enable_stats_tags: bool,
    /// Statistics go to a StatsD server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set, help_heading = "Tracing")]
    enable_statsd: bool,
    /// The StatsD server, or ref:status.hostIP for the pod's host.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        help_heading = "Tracing"
    )]
    statsd_address: String,
    /// Its port.
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 8125,
        help_heading = "Tracing"
    )]
    statsd_port: u16,
    /// The socket of the StatsD server, in place of address and port.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "",
        help_heading = "Tracing"
    )]
    statsd_socket_path: String,
}

/// `HOST:PORT`, or `:PORT` for every address.
fn address(text: &str) -> Result<SocketAddr, std::net::AddrParseError> {
    match text.strip_prefix(':').map(str::parse) {
        Some(Ok(port)) => Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        _ => text.parse(),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("write NAME=VALUE")]
struct NotAVariable;

fn variable(text: &str) -> Result<(String, String), NotAVariable> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(NotAVariable),
    }
}

fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

impl Webhook {
    pub(super) fn webhook_addr(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.webhook_port)
    }

    /// Where probes and metrics are served: two addresses, or one.
    pub(super) fn probe_addrs(&self) -> Vec<SocketAddr> {
        let any: IpAddr = Ipv6Addr::UNSPECIFIED.into();
        let probes = SocketAddr::new(any, self.health_probe_port);
        let mut addresses = vec![probes];
        if self.metrics_addr.port() != self.health_probe_port {
            addresses.push(self.metrics_addr);
        }
        addresses
    }

    pub(super) fn places(&self) -> Places {
        let (service, namespace) = (&self.webhook_service, &self.certificate_namespace);
        let mut names = vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
        ];
        names.extend(self.certificate_name.iter().cloned());
        Places {
            namespace: namespace.clone(),
            secret: self.certificate_secret.clone(),
            names,
            mutating: self.mutating_configuration.clone(),
            validating: self.validating_configuration.clone(),
        }
    }

    /// How TLS is spoken.
    pub(super) fn tls_policy(&self) -> Result<TlsPolicy, OptionsError> {
        TlsPolicy::new(
            matches!(self.tls_min_version, TlsVersion::Tls13),
            &self.tls_cipher_suite,
        )
        .map_err(|error| wrong("--tls-cipher-suite", error.to_string()))
    }

    /// What is decided by, in a cluster of this version (`v1.34.4`).
    pub(super) fn policy(&self, kubernetes_version: &str) -> Result<Policy, OptionsError> {
        Ok(Policy {
            inject: self.inject.config(kubernetes_version)?,
            family: match self.ip_family {
                Family::Ipv4 => IpFamily::V4,
                Family::Ipv6 => IpFamily::V6,
            },
        })
    }
}

impl InjectOptions {
    /// The configuration of the injector in a cluster of this version (`v1.34.4`).
    ///
    /// # Errors
    /// A combination that cannot be, named by an option.
    pub fn config(&self, kubernetes_version: &str) -> Result<InjectConfig, OptionsError> {
        let (kind, image) = self.chosen();
        let tombolo_image = match kind {
            Kind::Tombolo => image.clone(),
            Kind::Envoy => None,
        };
        let init_image = self.init_image.clone();
        let our_init = init_image
            .clone()
            .filter(|image| !is_named(image, ROUTE_MANAGER));
        let tombolo_image = tombolo_image
            .or_else(|| self.tombolo_image.clone())
            .or(our_init);
        let tombolo = tombolo_image.as_ref().map(|image| self.tombolo(image));
        let (sidecar, other_sidecar) = match (kind, tombolo) {
            (Kind::Tombolo, Some(tombolo)) => (tombolo, Some(self.envoy(&self.envoy_image))),
            (Kind::Tombolo, None) => {
                return Err(wrong(
                    "--sidecar-image",
                    "give it, or --sidecar-proxy=envoy",
                ));
            }
            (Kind::Envoy, tombolo) => {
                let image = image.as_ref().unwrap_or(&self.envoy_image);
                (self.envoy(image), tombolo)
            }
        };
        let Some(init_image) = init_image.or(tombolo_image) else {
            return Err(wrong("--init-image", "give it, or --tombolo-image"));
        };
        let init_args = match is_named(&init_image, ROUTE_MANAGER) {
            true => Vec::new(),
            false => vec!["init".to_owned()],
        };
        let mut config = InjectConfig::new("", init_image, &self.aws_region, &self.aws_account_id);
        config.init_args = init_args;
        config.sidecar = sidecar;
        config.other_sidecar = other_sidecar;
        config.native_sidecars = match self.native_sidecars {
            Native::Auto => has_native_sidecars(kubernetes_version),
            Native::Enabled => true,
            Native::Disabled => false,
        };
        config.start_timeout_seconds = self.poststart_timeout;
        config.strict = self.strict_injection;
        config.xds_endpoint = self.xds_endpoint.clone();
        config.admin_port = self.envoy_admin_access_port;
        config.admin_log_file = self.envoy_admin_access_log_file.clone();
        config.admin_ipv6 = self.envoy_admin_access_enable_ipv6;
        config.log_level = self.sidecar_log_level.clone();
        config.preview = self.preview;
        config.dual_stack_endpoint = self.dual_stack_endpoint;
        config.fips_endpoint = self.fips_endpoint;
        config.resources = Resources {
            cpu_request: given(&self.sidecar_cpu_requests),
            memory_request: given(&self.sidecar_memory_requests),
            cpu_limit: given(&self.sidecar_cpu_limits),
            memory_limit: given(&self.sidecar_memory_limits),
        };
        config.ignored_ips = self.ignored_ips.clone();
        config.sds_socket = self.enable_sds.then(|| self.sds_uds_path.clone());
        config.tracing = self.tracing()?;
        config.stats_tags = self.enable_stats_tags;
        config.statsd = self.enable_statsd.then(|| Statsd {
            address: self.statsd_address.clone(),
            port: self.statsd_port,
            socket_path: given(&self.statsd_socket_path),
        });
        config.iam_for_service_accounts = self.enable_iam_for_service_accounts;
        config.image_pull_secret = self
            .enable_ecr_secret
            .then(|| "appmesh-ecr-secret".to_owned());
        config.kubernetes_version = kubernetes_version.to_owned();
        config.controller_version = concat!("tombolo-", env!("CARGO_PKG_VERSION")).to_owned();
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", &self.envoy_aws_access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.envoy_aws_secret_access_key),
            ("AWS_SESSION_TOKEN", &self.envoy_aws_session_token),
        ] {
            config
                .extra_env
                .extend(given(value).map(|value| (name.to_owned(), value)));
        }
        if let Some(cluster) = &self.cluster_name {
            let variable = ("TOMBOLO_CLUSTER".to_owned(), cluster.clone());
            config.extra_env.push(variable);
        }
        config.extra_env.extend(self.sidecar_env.iter().cloned());
        Ok(config)
    }

    /// The sidecar by default, and its image if there is a choice.
    fn chosen(&self) -> (Kind, Option<String>) {
        let parts = self
            .sidecar_image_repository
            .as_ref()
            .zip(self.sidecar_image_tag.as_ref());
        let image = parts.map(|(repository, tag)| format!("{repository}:{tag}"));
        let image = image.or_else(|| self.sidecar_image.clone());
        let is_envoy = image
            .as_ref()
            .is_some_and(|image| is_named(image, "aws-appmesh-envoy"));
        // Who keeps the values of AWS's chart keeps its image.
        let kind = if is_envoy {
            Kind::Envoy
        } else {
            self.sidecar_proxy
        };
        (kind, image)
    }

    fn tombolo(&self, image: &str) -> Sidecar {
        let mut sidecar = Sidecar::tombolo(image);
        sidecar.post_start = self.wait_until_proxy_ready.then(|| {
            let timeout = self.poststart_timeout.to_string();
            ["tombolo", "ready", "--timeout", &timeout]
                .map(str::to_owned)
                .to_vec()
        });
        sidecar
    }

    fn envoy(&self, image: &str) -> Sidecar {
        let mut sidecar = Sidecar::envoy(image, self.envoy_admin_access_port);
        sidecar.probe = default_sidecar_probe(self.envoy_admin_access_port);
        sidecar.probe.initial_delay_seconds = Some(self.readiness_probe_initial_delay.into());
        sidecar.probe.period_seconds = Some(self.readiness_probe_period.into());
        sidecar.pre_stop = Some(default_pre_stop(self.prestop_delay));
        sidecar.post_start = self.wait_until_proxy_ready.then(|| self.wait_for_envoy());
        sidecar
    }

    /// Looks until Envoy is live. The original asks the agent of AWS's image, which others do not have.
    fn wait_for_envoy(&self) -> Vec<String> {
        let (port, interval) = (self.envoy_admin_access_port, self.poststart_interval.max(1));
        let looks = self.poststart_timeout / interval;
        let script = format!(
            "i=0; until curl -s http://localhost:{port}/server_info | grep state | grep -q LIVE; do \
             [ $i -lt {looks} ] || exit 1; i=$((i+1)); sleep {interval}; done"
        );
        vec!["sh".to_owned(), "-c".to_owned(), script]
    }

    fn tracing(&self) -> Result<Tracing, OptionsError> {
        let wanted = [
            self.enable_xray_tracing,
            self.enable_jaeger_tracing,
            self.enable_datadog_tracing,
        ];
        if wanted.into_iter().filter(|wanted| *wanted).count() > 1 {
            let problem = "a sidecar has one tracer: X-Ray, Jaeger or Datadog";
            return Err(wrong("--enable-xray-tracing", problem));
        }
        if self.enable_xray_tracing {
            let rate = self.xray_sampling_rate.parse::<f64>();
            if !rate.is_ok_and(|rate| (0.0..=1.0).contains(&rate)) {
                let problem = format!("{:?} is not a number from 0 to 1", self.xray_sampling_rate);
                return Err(wrong("--xray-sampling-rate", problem));
            }
            let mut daemon = XrayDaemon::new(&self.xray_image);
            daemon.port = self.xray_daemon_port;
            daemon.sampling_rate = self.xray_sampling_rate.clone();
            daemon.log_level = given(&self.xray_log_level);
            daemon.role_arn = given(&self.xray_config_role_arn);
            return Ok(Tracing::Xray(daemon));
        }
        Ok(if self.enable_jaeger_tracing {
            Tracing::Jaeger {
                address: self.jaeger_address.clone(),
                port: self.jaeger_port,
            }
        } else if self.enable_datadog_tracing {
            Tracing::Datadog {
                address: self.datadog_address.clone(),
                port: self.datadog_port,
            }
        } else {
            Tracing::Off
        })
    }
}

const ROUTE_MANAGER: &str = "aws-appmesh-proxy-route-manager";

/// Whether an image is of this name, in whatever repository.
fn is_named(image: &str, name: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split([':', '@']).next() == Some(name)
}

/// Whether a cluster of this version (`v1.34.4`, `v1.30.2-eks-1552ad0`) has native sidecars.
fn has_native_sidecars(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next().and_then(|part| part.parse::<u32>().ok());
    let minor = parts.next().unwrap_or_default();
    let digits = minor.trim_end_matches(|it: char| !it.is_ascii_digit());
    let minor = digits.parse::<u32>().ok();
    major.zip(minor) >= Some((1, NATIVE_SIDECARS_SINCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_sidecars_come_with_kubernetes_1_29() {
        for (version, has) in [
            ("v1.28.15", false),
            ("v1.29.0", true),
            ("v1.34.4", true),
            ("v1.30.2-eks-1552ad0", true),
            ("v1.29+", true),
            ("v2.0.0", true),
            ("unknown", false),
        ] {
            assert_eq!(has_native_sidecars(version), has, "{version}");
        }
    }
}
