//! The last good configuration on disk, so that a proxy starts and serves with every control plane gone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tombolo_xds::Snapshot;

/// Changes within this time are written once.
const DEBOUNCE: Duration = Duration::from_millis(500);
const FILE: &str = "last-good.snapshot";

pub(super) struct Saved {
    directory: PathBuf,
    waiting: Option<(Instant, Snapshot)>,
}

impl Saved {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            waiting: None,
        }
    }

    /// `None` when there is none, or none that can be read; the proxy then waits for its control plane.
    pub(super) fn load(&self) -> Option<Snapshot> {
        let path = self.directory.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "last good configuration cannot be read");
                return None;
            }
        };
        Snapshot::from_bytes(&bytes)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "last good configuration is damaged"))
            .ok()
    }

    pub(super) fn later(&mut self, snapshot: Snapshot) {
        let since = self
            .waiting
            .take()
            .map_or_else(Instant::now, |(since, _)| since);
        self.waiting = Some((since, snapshot));
    }

    pub(super) fn write_if_due(&mut self, now: Instant) {
        if self
            .waiting
            .as_ref()
            .is_some_and(|(since, _)| now.saturating_duration_since(*since) >= DEBOUNCE)
            && let Some((_, snapshot)) = self.waiting.take()
            && let Err(error) = self.write(&snapshot)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "last good configuration not saved");
        }
    }

    /// Whole or not at all: written beside, synced, then renamed over.
    fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let temporary = self.directory.join(format!("{FILE}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(&snapshot.to_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.directory.join(FILE))?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        if let Some((_, snapshot)) = self.waiting.take()
            && let Err(error) = self.write(&snapshot)
        {
            tracing::warn!(%error, "last good configuration not saved");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_ignored() {
        let directory = std::env::temp_dir().join(format!("tombolo-saved-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let saved = Saved::new(&directory);
        assert!(saved.load().is_none());
        fs::write(directory.join(FILE), b"not a snapshot").unwrap();
        assert!(saved.load().is_none());
        saved.write(&Snapshot::builder(7).build()).unwrap();
        assert_eq!(saved.load().map(|snapshot| snapshot.revision()), Some(7));
        fs::remove_dir_all(&directory).unwrap();
    }
}
