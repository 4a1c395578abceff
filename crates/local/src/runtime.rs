//! The process inside the sandbox: clusters, their network, and the control plane as a child process.

mod control_plane;
mod startup;
pub(crate) mod state;
mod xds_relay;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tombolo_telemetry::ErrorChain;

use crate::progress::{Event, encode};
use crate::up::Options;

/// What `up` passes to the process that it launches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaunchSpec {
    pub(crate) options: Options,
    /// Our own binary.
    pub(crate) program: PathBuf,
    /// The directory of the control sockets.
    pub(crate) run_dir: PathBuf,
}

/// The first call of `main`. In the process that `up` launched it runs everything and returns the exit code; in any
/// other process it returns `None` at once.
pub fn main() -> Option<i32> {
    let inside = match tombolo_linux::sandbox::enter()? {
        Ok(inside) => inside,
        Err(error) => {
            eprintln!("error: {error}");
            return Some(1);
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TOMBOLO_LOG")
        .unwrap_or_else(|_| "warn".into());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    let host = inside.host.clone();
    let run = || {
        let path = std::env::args_os()
            .nth(1)
            .ok_or("started without a launch spec")?;
        let launch_spec = read(Path::new(&path))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
        let ended = runtime.block_on(startup::run(inside, launch_spec));
        ended.map_err(|error| ErrorChain(&error).to_string())
    };
    match run() {
        Ok(()) => Some(0),
        Err(message) => {
            host.print(&encode(&Event::Failed { message }));
            Some(1)
        }
    }
}

fn read(path: &Path) -> Result<LaunchSpec, String> {
    let spec = std::fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    spec.map_err(|error| format!("{}: {error}", path.display()))
}
