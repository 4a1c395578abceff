//! `tombolo proxy`, `tombolo envoy` and `tombolo init`: what runs inside a pod.

use std::{os::unix::process::CommandExt, path::PathBuf};
use tombolo_proxy::Options;

/// Run the sidecar. It is configured by the environment variables of App Mesh's Envoy image.
#[derive(clap::Args)]
pub(crate) struct Proxy {}

impl Proxy {
    pub(crate) fn run(self) -> Result<i32, String> {
        let options = Options::from_env(&environment).map_err(|error| error.to_string())?;
        crate::logging::start(log_level());
        tombolo_proxy::run(options).map_err(|error| error.to_string())?;
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
    pub(crate) fn run(self) -> Result<i32, String> {
        let options = Options::from_env(&environment).map_err(|error| error.to_string())?;
        let bootstrap = tombolo_proxy::envoy::bootstrap(&options);
        let error = std::process::Command::new(&self.program)
            .args(["--config-yaml", &bootstrap.to_string()])
            .args(["--log-level", log_level(), "--use-dynamic-base-id"])
            .args(["--concurrency", &options.worker_count().to_string()])
            .args(["--drain-time-s", "5", "--parent-shutdown-time-s", "10"])
            .exec();
        Err(format!("cannot start {}: {error}", self.program.display()))
    }
}

/// Redirect a pod's traffic to its sidecar: the program of the init container. It is configured by the
/// environment variables of App Mesh's proxy-route-manager image.
#[derive(clap::Args)]
pub(crate) struct Init {}

impl Init {
    pub(crate) fn run(self) -> Result<i32, String> {
        use tombolo_linux::intercept::{self, InterceptConfig};
        match InterceptConfig::from_env(&environment).map_err(|error| error.to_string())? {
            Some(config) => intercept::apply(&config).map_err(|error| error.to_string())?,
            None => println!("APPMESH_START_ENABLED is not 1: nothing is redirected"),
        }
        Ok(0)
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn log_level() -> &'static str {
    match std::env::var("ENVOY_LOG_LEVEL").as_deref() {
        Ok("trace") => "trace",
        Ok("debug") => "debug",
        Ok("info") => "info",
        Ok("error" | "critical") => "error",
        Ok("off") => "off",
        _ => "warning",
    }
}
