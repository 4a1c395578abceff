//! `tombolo down`: ending a run.

use super::run::Run;
use std::time::{Duration, Instant};

/// How long until everything is gone.
const DOWN: Duration = Duration::from_secs(60);

/// Stop a running `tombolo up`, and wait until everything is gone.
#[derive(clap::Args)]
pub(crate) struct Down {
    #[command(flatten)]
    run: Run,
}

impl Down {
    pub(crate) fn run(self) -> Result<i32, String> {
        let client = self.run.client()?;
        super::runtime()?.block_on(async {
            client.stop().await.map_err(|error| error.to_string())?;
            let begun = Instant::now();
            while self.run.client().is_ok() {
                if begun.elapsed() > DOWN {
                    return Err(format!("it is still stopping after {} s", DOWN.as_secs()));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(0)
        })
    }
}
