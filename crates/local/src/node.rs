//! What runs inside of the sandbox: the clusters, their network, and the control plane as a process of its own.

pub mod control_plane;
pub mod runtime;
mod wiring;
mod xds_socket;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::progress::Event;
use crate::up::options::Options;

/// What the launcher tells the process that it launches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// What to run.
    pub options: Options,
    /// Our own binary.
    pub program: PathBuf,
    /// The directory of the control sockets.
    pub run_dir: PathBuf,
}

/// The first thing that `main` calls. In the process that `up` launched it runs everything and gives the exit
/// code; in any other process it gives `None` at once.
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
    let failed = move |message: String| {
        host.print(&crate::progress::encode(&Event::Failed { message }));
        Some(1)
    };
    let orders = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or_else(|| "started without orders".to_owned());
    let orders = orders.and_then(|path| {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str::<Orders>(&text)
            .map_err(|error| format!("{}: {error}", path.display()))
    });
    let orders = match orders {
        Ok(orders) => orders,
        Err(message) => return failed(message),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => match runtime.block_on(wiring::run(inside, orders)) {
            Ok(()) => Some(0),
            Err(failure) => failed(failure.to_string()),
        },
        Err(error) => failed(format!("cannot start threads: {error}")),
    }
}
