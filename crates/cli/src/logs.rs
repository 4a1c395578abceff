//! `tombolo logs`: what containers printed.

use crate::{error::Result, local::ClusterArgs};
use futures::StreamExt;
use std::io::Write;
use tombolo_local::control_socket::LogQuery;

/// Print the log of a container.
#[derive(clap::Args)]
pub struct Logs {
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
    cluster: ClusterArgs,
}

impl Logs {
    /// Prints the log as the container wrote it, colours included.
    ///
    /// # Errors
    /// The container does not exist, or the run does not answer.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            let found = self.cluster.find_pod(&self.pod).await?;
            let query = LogQuery {
                cluster: Some(found.cluster),
                namespace: Some(found.namespace),
                pod: found.name,
                container: self.container,
                previous: self.previous,
                tail: self.tail,
                follow: self.follow,
            };
            let client = self.cluster.run.client()?;
            let mut log = client.logs(&query).await?;
            let mut out = std::io::stdout().lock();
            while let Some(part) = log.next().await {
                let part = part?;
                // The reader closed the pipe (`| head`).
                if out.write_all(&part).and_then(|()| out.flush()).is_err() {
                    return Ok(0);
                }
            }
            Ok(0)
        })
    }
}
