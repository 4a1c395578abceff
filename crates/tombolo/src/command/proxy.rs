//! `tombolo proxy`, `tombolo envoy` and `tombolo init`: the programs inside a pod.

use crate::logging::{self, Level};
use std::{os::unix::process::CommandExt, path::PathBuf};
use tombolo_proxy::Options;

/// Run the sidecar. It is configured by the environment variables of App Mesh's Envoy image.
#[derive(clap::Args)]
pub(crate) struct Proxy {}

impl Proxy {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let options = Options::from_env(&environment)?;
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
}

impl Envoy {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let options = Options::from_env(&environment)?;
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

/// The level in `ENVOY_LOG_LEVEL`; warnings if it is not a level.
fn log_level() -> Level {
    let word = environment("ENVOY_LOG_LEVEL").unwrap_or_default();
    logging::level(&word).unwrap_or(Level::WARN)
}
