//! `tombolo agent`: the relay between a proxy in the pod and the control plane.

use super::{
    Error,
    proxy::{ControlPlane, log_level},
};
use crate::logging;
use std::{
    convert::Infallible,
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::UnixListener;
use tombolo_telemetry::Supervisor;
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
    let signals = super::signals()?;
    let failed = |error| format!("--socket {}: {error}", path.display());
    remove_stale_socket(&path).map_err(failed)?;
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
    super::run_until_signal(supervisor, signals).await
}

/// Removes the socket that an agent before left. Anything else at the path is the user's, and stays.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_removed_and_any_other_file_stays() {
        let directory = std::env::temp_dir().join(format!("tombolo-agent-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (socket, file) = (directory.join("s"), directory.join("f"));
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
        std::fs::write(&file, "the user's").expect("a file");
        for path in [&socket, &file, &directory.join("nothing")] {
            remove_stale_socket(path).expect("it is looked at");
        }
        assert!(!socket.exists());
        assert!(file.exists());
        std::fs::remove_dir_all(directory).expect("it is the test's");
    }
}
