//! `tombolo agent`: the relay between a proxy in the pod and the control plane.

use super::{
    Error,
    proxy::{ControlPlane, log_level},
};
use crate::logging;
use std::{convert::Infallible, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};
use tokio::net::UnixListener;
use tombolo_telemetry::{
    Supervisor,
    supervisor::{Signals, Stop},
};
use tombolo_xds::{
    client::Server,
    relay::{self, RelayOptions},
};

/// What the relay may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Pass xDS calls from a Unix socket on to the control plane over TLS, with the pod's token: for proxies that can do
/// neither, such as AWS's Envoy image with APPMESH_XDS_ENDPOINT=unix:///PATH.
#[derive(clap::Args)]
pub(crate) struct Agent {
    /// The socket to listen on. One that is left over is replaced.
    #[arg(long, value_name = "PATH", default_value = "/run/tombolo/xds.sock")]
    socket: PathBuf,
    /// The control plane, as https://HOST:PORT.
    #[arg(long, value_name = "URL", env = "TOMBOLO_XDS_ENDPOINT")]
    xds: String,
    #[command(flatten)]
    control_plane: ControlPlane,
}

impl Agent {
    pub(crate) fn run(self) -> Result<i32, Error> {
        logging::start(log_level());
        let server = Server::encrypted(&self.xds);
        let server =
            server.ok_or_else(|| format!("--xds {}: must be https://HOST:PORT", self.xds))?;
        let options = RelayOptions {
            server,
            authorities: self.control_plane.ca(),
            token_file: self.control_plane.token_file(),
        };
        super::runtime()?.block_on(serve(self.socket, options))?;
        Ok(0)
    }
}

async fn serve(path: PathBuf, options: RelayOptions) -> Result<(), Error> {
    let mut signals = Signals::listen().map_err(|error| format!("signals: {error}"))?;
    let failed = |error| format!("--socket {}: {error}", path.display());
    // What an agent before left.
    let _ = std::fs::remove_file(&path);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    // The proxy may run as another user of the pod; the directory is the pod's own.
    let anybody = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&path, anybody).map_err(failed)?;
    let mut supervisor = Supervisor::new();
    let stage = supervisor.stage("relay", DRAIN);
    supervisor.spawn(stage, "relay", |stop| async move {
        relay::serve(listener, options, stop.cancelled_owned()).await;
        Ok::<_, Infallible>(())
    });
    tracing::info!(socket = %path.display(), "listening");
    let stop = Stop::new();
    let stopped = stop.clone().cancelled_owned();
    let interrupted = async {
        signals.received().await;
        stop.cancel();
        signals.received().await
    };
    tokio::select! {
        ended = supervisor.run(stopped) => Ok(ended?),
        signal = interrupted => Err(format!("ended by {signal} before everything was drained").into()),
    }
}
