//! Programs that run for as long as the clusters are up.

use crate::process::Result;
use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{process::Command, sync::mpsc};

/// How many lines of a log are told when its program has ended.
const TOLD_LINES: usize = 15;
/// Between two looks at whether something is as it should be.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a wait is told.
const PERIOD: Duration = Duration::from_secs(5);

/// Starts programs, each with a log of its own. None of them ends by itself: the first that does ends everything.
#[derive(Clone, Debug)]
pub(super) struct Components {
    logs: PathBuf,
    ended: mpsc::Sender<String>,
}

impl Components {
    /// Logs are in the folder `logs`; why a program has ended goes to the receiver.
    pub(super) fn new(logs: PathBuf) -> (Self, mpsc::Receiver<String>) {
        let (ended, receiver) = mpsc::channel(1);
        (Self { logs, ended }, receiver)
    }

    /// Starts a program; answers with its process id.
    pub(super) fn start(&self, name: &str, mut command: Command) -> Result<u32> {
        let path = self.logs.join(format!("{name}.log"));
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let log = File::create(&path).map_err(failed)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let id = child
            .id()
            .ok_or_else(|| format!("{name} has no process id"))?;
        let (name, ended) = (name.to_owned(), self.ended.clone());
        tokio::spawn(async move {
            let status = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            let log = fs::read(&path).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(TOLD_LINES)..].join("\n");
            // Nobody reads any more once one has ended.
            let _ = ended
                .send(format!(
                    "{name} has ended: {status}; {}:\n{last}",
                    path.display()
                ))
                .await;
        });
        Ok(id)
    }
}

/// Looks again and again until there is an answer, and says so where that takes long.
pub(super) async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let (start, mut told) = (Instant::now(), Instant::now());
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        let waited = start.elapsed();
        if waited > patience {
            return Err(format!("not within {} s: {what}", patience.as_secs()));
        }
        if told.elapsed() > PERIOD {
            told = Instant::now();
            super::serve::tell(&format!("waiting for {} s: {what}", waited.as_secs()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
