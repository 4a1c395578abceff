//! `tombolo down`: ending a run.

use crate::{
    error::{Error, Result},
    local::RunArgs,
};
use std::time::{Duration, Instant};

/// Deadline for the end of the run.
const DOWN: Duration = Duration::from_secs(60);

/// Stop a running `tombolo up`, and wait until everything is gone.
#[derive(clap::Args)]
pub struct Down {
    #[command(flatten)]
    run: RunArgs,
}

impl Down {
    /// Stops the run.
    ///
    /// # Errors
    /// No run is up, or it does not end within 60 s.
    pub fn run(self) -> Result<i32> {
        let client = self.run.client()?;
        crate::block_on(async {
            client.stop().await?;
            let begun = Instant::now();
            while self.run.client().is_ok() {
                if begun.elapsed() > DOWN {
                    let seconds = DOWN.as_secs();
                    let message = format!("it is still stopping after {seconds} s");
                    return Err(Error::Unreachable(message));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(0)
        })
    }
}
