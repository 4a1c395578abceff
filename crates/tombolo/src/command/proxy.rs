//! `tombolo proxy`, `tombolo envoy` and `tombolo init`: the programs inside a pod.

use crate::logging::{self, Level};
use std::{os::unix::process::CommandExt, path::PathBuf};
use tombolo_proxy::Options;

/// Run the sidecar. It is configured by the environment variables of App Mesh's Envoy image.
#[derive(clap::Args)]
pub(crate) struct Proxy {
    #[command(flatten)]
    control_plane: ControlPlane,
}

/// How a proxy reaches its control plane, beside `APPMESH_XDS_ENDPOINT`.
#[derive(clap::Args)]
pub(super) struct ControlPlane {
    /// PEM file of the authorities of the control plane's certificate, where APPMESH_XDS_ENDPOINT is
    /// https://HOST:PORT; in place of TOMBOLO_XDS_CA. The system's when absent.
    #[arg(long, value_name = "FILE")]
    xds_ca: Option<PathBuf>,
    /// File with the token of the pod's service account for the audience tombolo/RESOURCE, by which the control plane
    /// knows the proxy; in place of TOMBOLO_XDS_TOKEN_FILE. Read at each connection.
    #[arg(long, value_name = "FILE")]
    xds_token_file: Option<PathBuf>,
}

impl ControlPlane {
    /// The options of a proxy, from the environment and the command line.
    fn options(self) -> Result<Options, super::Error> {
        let options = Options::from_env(&environment)?;
        Ok(Options {
            xds_authorities: self.ca(),
            xds_token_file: self.token_file(),
            ..options
        })
    }

    /// The file with the authorities of the control plane.
    pub(super) fn ca(&self) -> Option<PathBuf> {
        self.xds_ca.clone().or_else(|| path("TOMBOLO_XDS_CA"))
    }

    /// The file with the token.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        let given = self.xds_token_file.clone();
        given.or_else(|| path("TOMBOLO_XDS_TOKEN_FILE"))
    }
}

impl Proxy {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let options = self.control_plane.options()?;
        logging::start(log_level());
        tombolo_proxy::run(options)?;
        Ok(0)
    }
}

/// Run a real Envoy as the sidecar, from the same environment variables.
#[derive(clap::Args)]
pub(crate) struct Envoy {
    /// The Envoy program.
    #[arg(long, env = "TOMBOLO_ENVOY", default_value = "envoy")]
    program: PathBuf,
    #[command(flatten)]
    control_plane: ControlPlane,
}

impl Envoy {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let options = self.control_plane.options()?;
        let bootstrap = tombolo_proxy::bootstrap_for_envoy::generate(&options);
        let error = std::process::Command::new(&self.program)
            .args(["--config-yaml", &bootstrap.to_string()])
            .args([
                "--log-level",
                &logging::envoy_level(log_level()),
                "--use-dynamic-base-id",
            ])
            .args(["--concurrency", &options.worker_count().to_string()])
            .args(["--drain-time-s", "5", "--parent-shutdown-time-s", "10"])
            .exec();
        Err(format!("cannot start {}: {error}", self.program.display()).into())
    }
}

/// Redirect a pod's traffic to its sidecar: the program of the init container. It is configured by the
/// environment variables of App Mesh's proxy-route-manager image.
#[derive(clap::Args)]
pub(crate) struct Init {}

impl Init {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        use tombolo_linux::intercept::{self, InterceptConfig};
        match InterceptConfig::from_env(&environment)? {
            Some(config) => intercept::apply(&config)?,
            None => println!("APPMESH_START_ENABLED is not 1: nothing is redirected"),
        }
        Ok(0)
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The path in a variable; an empty one counts as unset.
fn path(variable: &str) -> Option<PathBuf> {
    let path = environment(variable).filter(|path| !path.trim().is_empty());
    path.map(|path| PathBuf::from(path.trim()))
}

/// The level in `ENVOY_LOG_LEVEL`; warnings where it names none.
pub(super) fn log_level() -> Level {
    let word = environment("ENVOY_LOG_LEVEL").unwrap_or_default();
    logging::level(&word).unwrap_or(Level::WARN)
}
