//! Programs under measurement: child processes, killed when their handle is dropped.

use crate::Result;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child as Process, Command, Stdio},
    time::Duration,
};

/// Clock ticks per second in `/proc`: fixed at 100 on every Linux that Rust's std supports.
const TICKS_PER_SECOND: u32 = 100;

pub(crate) struct Child {
    process: Process,
    log: PathBuf,
}

impl Child {
    /// Starts a command; its output goes to a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log)?;
        let program = command.get_program().to_owned();
        let process = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self {
            process,
            log: log.to_owned(),
        })
    }

    /// CPU time of all its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name may hold anything, but ends at the last parenthesis; utime and stime are fields 14 and 15.
        let rest = stat.rsplit_once(')').ok_or("no such process")?.1;
        let ticks: Vec<u32> = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        let ticks: u32 = ticks.iter().sum();
        Ok(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
    }

    /// The peak memory, in KiB.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// The current memory, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("no such process")?.parse()?)
    }

    /// Fails when it has ended, with its output.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("it ended with {status}: {}", self.printed()).into()),
        }
    }

    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program in an environment variable.
pub(crate) fn named(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable);
    Ok(path
        .ok_or_else(|| format!("{variable} is not set; `cargo xtask bench` sets it"))?
        .into())
}

/// A program on the path, or in Debian's directory of servers.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}
