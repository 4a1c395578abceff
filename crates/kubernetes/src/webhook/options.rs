//! `tombolo webhook`: its options. Where AWS's controller has one, it has the same name and default.

mod sidecar;
mod tracing;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tombolo_kube::admit::IpFamily;

pub use sidecar::InjectOptions;

use super::decide::Policy;
use super::own_certificate::{Places, TlsPolicy};

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

/// `HOST:PORT`, or `:PORT` for every address.
fn address(text: &str) -> Result<SocketAddr, std::net::AddrParseError> {
    match text.strip_prefix(':').map(str::parse) {
        Some(Ok(port)) => Ok(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        _ => text.parse(),
    }
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

fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
