//! `tombolo exec`: runs a program in a pod.

use crate::{
    error::{Error, Result},
    local::ClusterArgs,
};
use std::io::IsTerminal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tombolo_local::control_socket::ExecQuery;

/// Run a program in a pod, with this terminal's input and output.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  tombolo exec deploy/curler -n color -- curl -s front/color")]
pub struct Exec {
    /// The pod, or deployment/NAME for one of its pods.
    pod: String,
    /// Which container; the first of the application where absent.
    #[arg(short, long)]
    container: Option<String>,
    /// Kept for the habit of kubectl's users: a terminal is handed over when there is one.
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Kept for the habit of kubectl's users: standard input is always handed over.
    #[arg(short = 'i', long, hide = true)]
    stdin: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    /// Runs the program; its exit code.
    ///
    /// # Errors
    /// The pod does not exist, or the program cannot be started.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            let found = self.cluster.find_pod(&self.pod).await?;
            let query = ExecQuery {
                cluster: Some(found.cluster),
                namespace: Some(found.namespace),
                pod: found.name,
                container: self.container,
                command: self.command,
                terminal: std::io::stdin().is_terminal(),
            };
            let signals = forwarded_signals()?;
            let client = self.cluster.run.client()?;
            Ok(client.exec(&query, signals).await?)
        })
    }
}

/// Interrupt and terminate are forwarded to the program.
fn forwarded_signals() -> Result<mpsc::Receiver<i32>> {
    let (sender, receiver) = mpsc::channel(8);
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut stream = signal(kind).map_err(Error::Signals)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(kind.as_raw_value()).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}
