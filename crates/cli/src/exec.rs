//! `tombolo exec` and `tombolo logs`: looking into pods.

use super::run::Where;
use futures::StreamExt;
use std::io::{IsTerminal, Write};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tombolo_local::control::{ExecQuery, LogQuery};

/// Run a program in a pod, with this terminal's input and output.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  tombolo exec deploy/curler -n color -- curl -s front/color")]
pub(crate) struct Exec {
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
    place: Where,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let found = self.place.find_pod(&self.pod).await?;
            let query = ExecQuery {
                cluster: Some(found.cluster),
                namespace: Some(found.namespace),
                pod: found.name,
                container: self.container,
                command: self.command,
                terminal: std::io::stdin().is_terminal(),
            };
            let signals = forwarded_signals()?;
            self.place
                .client()?
                .exec(&query, signals)
                .await
                .map_err(|error| error.to_string())
        })
    }
}

/// Interrupt and terminate go to the program, not to this process.
fn forwarded_signals() -> Result<mpsc::Receiver<i32>, String> {
    let (sender, receiver) = mpsc::channel(8);
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut stream = signal(kind).map_err(|error| format!("cannot catch signals: {error}"))?;
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

/// Print the log of a container.
#[derive(clap::Args)]
pub(crate) struct Logs {
    /// The pod, or deployment/NAME for one of its pods.
    pod: String,
    /// Which container; the first of the application where absent. The sidecar is `envoy`.
    #[arg(short, long)]
    container: Option<String>,
    /// Go on until the container ends.
    #[arg(short, long)]
    follow: bool,
    /// The run before the current one.
    #[arg(short, long)]
    previous: bool,
    /// Only the last lines.
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    #[command(flatten)]
    place: Where,
}

impl Logs {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            let found = self.place.find_pod(&self.pod).await?;
            let query = LogQuery {
                cluster: Some(found.cluster),
                namespace: Some(found.namespace),
                pod: found.name,
                container: self.container,
                previous: self.previous,
                tail: self.tail,
                follow: self.follow,
            };
            let client = self.place.client()?;
            let mut log = client
                .logs(&query)
                .await
                .map_err(|error| error.to_string())?;
            let mut out = std::io::stdout().lock();
            while let Some(part) = log.next().await {
                let part = part.map_err(|error| error.to_string())?;
                // A reader that went away (`| head`) has what it wanted.
                if out.write_all(&part).and_then(|()| out.flush()).is_err() {
                    return Ok(0);
                }
            }
            Ok(0)
        })
    }
}
