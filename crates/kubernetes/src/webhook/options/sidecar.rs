//! How pods are injected.

use clap::{ArgAction, Args, ValueEnum};
use tombolo_kube::inject::{
    IGNORED_IPS, InjectConfig, Resources, Sidecar, default_pre_stop, default_sidecar_probe,
};

use super::tracing::TracingOptions;
use super::{OptionsError, given, wrong};

/// The first minor version of Kubernetes 1 whose clusters have native sidecars.
const NATIVE_SIDECARS_SINCE: u32 = 29;
const ENVOY_IMAGE: &str = "public.ecr.aws/appmesh/aws-appmesh-envoy:v1.34.13.3-prod";

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
#[command(next_help_heading = "Sidecar")]
pub struct InjectOptions {
    /// The sidecar of pods and namespaces that choose none by tombolo.dev/sidecar.
    #[arg(long, value_name = "KIND", default_value = "tombolo")]
    sidecar_proxy: Kind,
    /// The image of the sidecar. An image of the name aws-appmesh-envoy is an Envoy, whatever --sidecar-proxy says.
    #[arg(long, value_name = "IMAGE")]
    sidecar_image: Option<String>,
    /// The repository of its image, in place of --sidecar-image.
    #[arg(
        long,
        value_name = "REPOSITORY",
        requires = "sidecar_image_tag",
        conflicts_with = "sidecar_image"
    )]
    sidecar_image_repository: Option<String>,
    /// The tag of its image, with --sidecar-image-repository.
    #[arg(long, value_name = "TAG")]
    sidecar_image_tag: Option<String>,
    /// The image of Tombolo's sidecar, for who chooses it; by default that of the sidecar or of the init container.
    #[arg(long, value_name = "IMAGE", env = "TOMBOLO_IMAGE")]
    tombolo_image: Option<String>,
    /// The image of Envoy, for who chooses it.
    #[arg(long, value_name = "IMAGE", default_value = ENVOY_IMAGE)]
    envoy_image: String,
    /// The image of the init container that redirects traffic; by default Tombolo's. One of the name
    /// aws-appmesh-proxy-route-manager is AWS's.
    #[arg(long, value_name = "IMAGE")]
    init_image: Option<String>,
    /// Sidecars as init containers that run on (Kubernetes 1.29): they start before the application and end after it.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    native_sidecars: Native,
    /// Deny every pod that nothing selects where injection is enabled, also those that no controller owns.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    strict_injection: bool,
    /// The xDS server of the sidecars, as HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    xds_endpoint: Option<String>,
    /// More variables of the sidecars, as NAME=VALUE; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    sidecar_env: Vec<(String, String)>,
    /// The region of the mesh.
    #[arg(long, env = "AWS_REGION", default_value = "us-west-2")]
    aws_region: String,
    /// The account of the mesh: twelve digits.
    #[arg(long, value_name = "ID", default_value = "123456789012")]
    aws_account_id: String,
    /// The name of this cluster, by which sidecars say where they are.
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// Destinations that are never redirected, with commas between.
    #[arg(long, value_name = "ADDRESSES", default_value = IGNORED_IPS)]
    ignored_ips: String,
    /// Processor time that a sidecar asks for.
    #[arg(long, value_name = "QUANTITY", default_value = "10m")]
    sidecar_cpu_requests: String,
    /// Memory that a sidecar asks for.
    #[arg(long, value_name = "QUANTITY", default_value = "32Mi")]
    sidecar_memory_requests: String,
    /// Processor time of a sidecar at most.
    #[arg(long, value_name = "QUANTITY", default_value = "")]
    sidecar_cpu_limits: String,
    /// Memory of a sidecar at most.
    #[arg(long, value_name = "QUANTITY", default_value = "")]
    sidecar_memory_limits: String,
    /// The log level of sidecars.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    sidecar_log_level: String,
    /// The preview channel of App Mesh.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    preview: bool,
    /// Seconds that an Envoy waits when its pod ends, where sidecars are not native.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    prestop_delay: u32,
    /// Seconds after which an Envoy is probed for the first time.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    readiness_probe_initial_delay: u16,
    /// Seconds between two probes of an Envoy.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    readiness_probe_period: u16,
    /// Start the application once the sidecar is ready. Native sidecars do that anyway.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    wait_until_proxy_ready: bool,
    /// Seconds that a sidecar may take to be ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    poststart_timeout: u16,
    /// Seconds between two looks at a sidecar that is not ready yet; native ones are looked at each second.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    poststart_interval: u16,
    /// The admin port of sidecars.
    #[arg(long, value_name = "PORT", default_value_t = 9901)]
    envoy_admin_access_port: u16,
    /// The admin log of sidecars.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/tmp/envoy_admin_access.log"
    )]
    envoy_admin_access_log_file: String,
    /// The admin port listens on IPv6.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    envoy_admin_access_enable_ipv6: bool,
    /// Sidecars use dual-stack endpoints.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    dual_stack_endpoint: bool,
    /// Sidecars use FIPS endpoints.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    fips_endpoint: bool,
    /// Static credentials of sidecars, for tests.
    #[arg(long, value_name = "ID", default_value = "")]
    envoy_aws_access_key_id: String,
    /// Static credentials of sidecars, for tests.
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        env = "TOMBOLO_SIDECAR_SECRET_ACCESS_KEY",
        hide_env_values = true
    )]
    envoy_aws_secret_access_key: String,
    /// Static credentials of sidecars, for tests.
    #[arg(
        long,
        value_name = "TOKEN",
        default_value = "",
        env = "TOMBOLO_SIDECAR_SESSION_TOKEN",
        hide_env_values = true
    )]
    envoy_aws_session_token: String,
    /// Sidecars find secrets at a socket of their host.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    enable_sds: bool,
    /// That socket.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/spire/sockets/agent.sock"
    )]
    sds_uds_path: String,
    /// Pods give the files of their volumes to the sidecar's group.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = ArgAction::Set)]
    enable_iam_for_service_accounts: bool,
    /// Images are pulled with the Secret appmesh-ecr-secret.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    enable_ecr_secret: bool,
    #[command(flatten)]
    tracing: TracingOptions,
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
        config.tracing = self.tracing.tracing()?;
        config.stats_tags = self.tracing.enable_stats_tags;
        config.statsd = self.tracing.statsd();
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
