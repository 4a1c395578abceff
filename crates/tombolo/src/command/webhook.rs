//! `tombolo webhook`: the admission webhooks of a Kubernetes cluster.

use crate::logging;
use std::time::Duration;
use tombolo_kubernetes::webhook;
use tombolo_telemetry::Supervisor;

/// What the tasks of a stage may take to end, beside their own drain.
const MARGIN: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Webhook {
    #[command(flatten)]
    webhook: Box<webhook::Webhook>,
}

impl Webhook {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let level = logging::level(&self.webhook.log_level);
        logging::start(level.unwrap_or(logging::Level::INFO));
        super::runtime()?.block_on(self.serve())?;
        Ok(0)
    }

    async fn serve(self) -> Result<(), super::Error> {
        let signals = super::signals()?;
        let mut supervisor = Supervisor::new();
        let listeners = supervisor.stage("listeners", webhook::Webhook::DRAIN + MARGIN);
        let background = supervisor.stage("background", MARGIN);
        self.webhook
            .start(&mut supervisor, listeners, background)
            .await?;
        super::run_until_signal(supervisor, signals).await
    }
}
