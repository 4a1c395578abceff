//! The daemon of the local runtime, the process inside the sandbox: clusters, their network, and the control plane as a
//! child process.

mod control_plane_process;
mod startup;
mod status;
mod xds_relay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};
use tombolo_linux::host_link::HostLink;
use tombolo_telemetry::ErrorChain;

use crate::cluster::Cluster;
use crate::control_socket::Info;
use crate::kubelet::Kubelet;
use crate::load_balancers::LoadBalancers;
use crate::network::Network;
use crate::progress::{Event, Progress, encode};
use crate::up::Options;
use control_plane_process::ControlPlaneProcess;

/// The input of the process that `up` launches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaunchSpec {
    pub(crate) options: Options,
    /// Tombolo's binary.
    pub(crate) program: PathBuf,
    /// The directory of the control sockets.
    pub(crate) run_dir: PathBuf,
}

/// The daemon: all parts of a running local runtime.
pub(crate) struct Daemon {
    pub(crate) clusters: Vec<Arc<Cluster>>,
    /// One for each cluster, in the order of `clusters`.
    pub(crate) kubelets: Vec<Arc<Kubelet>>,
    pub(crate) network: Arc<Network>,
    pub(crate) load_balancers: Arc<LoadBalancers>,
    pub(crate) control_plane: Arc<ControlPlaneProcess>,
    /// Client of the control plane's operator API.
    pub(crate) api: tombolo_operator::Client,
    pub(crate) progress: Progress,
    /// Whether [`Event::Ready`] was sent. Before the manifests are applied no workload is incomplete, so the
    /// workloads alone cannot tell.
    pub(crate) announced: AtomicBool,
    /// Notified when a stop is requested.
    pub(crate) stop: Notify,
    /// The constant parts of [`Info`].
    pub(crate) info: Info,
    pub(crate) host: HostLink,
    /// Process ids of containers as the host sees them.
    pub(crate) host_pids: Mutex<BTreeMap<u32, u32>>,
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
    let run = || -> Result<(), LaunchError> {
        let path = std::env::args_os().nth(1).ok_or(LaunchError::NoSpec)?;
        let launch_spec = read(Path::new(&path))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(LaunchError::Threads)?;
        Ok(runtime.block_on(startup::run(inside, launch_spec))?)
    };
    match run() {
        Ok(()) => Some(0),
        Err(error) => {
            let message = ErrorChain(&error).to_string();
            host.print(&encode(&Event::Failed { message }));
            Some(1)
        }
    }
}

/// The reason why the daemon failed.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    /// The process was not started by `up`.
    #[error("started without a launch spec")]
    NoSpec,
    /// The launch spec cannot be read.
    #[error("{}", path.display())]
    Spec {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// The tokio runtime cannot be built.
    #[error("cannot start threads")]
    Threads(#[source] std::io::Error),
    /// The daemon ended with an error.
    #[error(transparent)]
    Run(#[from] startup::RunError),
}

fn read(path: &Path) -> Result<LaunchSpec, LaunchError> {
    let spec = std::fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    spec.map_err(|cause| LaunchError::Spec {
        path: path.to_owned(),
        cause,
    })
}
