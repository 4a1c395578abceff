//! `tombolo registry`: the registry of a control plane as a whole.

mod sync;

use crate::error::Result;
use sync::Sync;

/// The registry of a control plane as a whole.
#[derive(clap::Args)]
pub struct Registry {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Sync(Sync),
}

impl Registry {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// Those of the subcommand.
    pub fn run(self) -> Result<i32> {
        match self.command {
            Command::Sync(sync) => sync.run(),
        }
    }
}
