//! The output of a container: a bounded log file, and its followers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// Bytes at which the file is rotated. Two files are kept, so a container costs at most twice this, and its previous
/// run as much again. The files of a sandbox are in memory.
const MAX_BYTES: u64 = 1 << 20;

/// The log of one run of a container. Offsets count from the first byte ever written.
#[derive(Debug)]
pub(crate) struct Log {
    /// Guards the files, so that rotation and reading agree on offsets.
    state: Mutex<State>,
    progress: watch::Sender<LogProgress>,
}

/// The end of the log, which followers watch.
#[derive(Debug, Default)]
struct LogProgress {
    /// The offset after the last byte.
    end: u64,
    /// Whether nothing more will be written.
    complete: bool,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    file: File,
    /// Offset of the first byte of the rotated file.
    rotated_base: u64,
    /// Offset of the first byte of the current file.
    current_base: u64,
    end: u64,
}

impl Log {
    /// Starts an empty log at `path`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = create(path)?;
        Ok(Self {
            state: Mutex::new(State {
                path: path.to_owned(),
                file,
                rotated_base: 0,
                current_base: 0,
                end: 0,
            }),
            progress: watch::Sender::default(),
        })
    }

    /// Renames the files of an ended run, so that the next run can use the path. Output that is still in the pipe
    /// goes to the renamed files.
    ///
    /// # Errors
    /// A file cannot be renamed.
    pub(crate) fn rename(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        std::fs::rename(&state.path, path)?;
        let (from, to) = (rotated(&state.path), rotated(path));
        if state.current_base > state.rotated_base {
            std::fs::rename(from, to)?;
        } else {
            let _ = std::fs::remove_file(to);
        }
        state.path = path.to_owned();
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The file cannot be written; earlier output stays readable.
    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.end - state.current_base >= MAX_BYTES {
            std::fs::rename(&state.path, rotated(&state.path))?;
            state.file = create(&state.path)?;
            state.rotated_base = state.current_base;
            state.current_base = state.end;
        }
        let at = state.end - state.current_base;
        state.file.seek(SeekFrom::Start(at))?;
        state.file.write_all(bytes)?;
        state.end += bytes.len() as u64;
        let end = state.end;
        drop(state);
        self.progress.send_modify(|progress| progress.end = end);
        Ok(())
    }

    /// Copies a stream into the log until it ends. A full disk loses output and does not stop the container.
    pub(crate) async fn record(self: Arc<Self>, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            if let Err(error) = self.append(&buffer[..count]) {
                tracing::warn!(path = %self.state.lock().path.display(), %error, "container output lost");
            }
        }
    }

    /// Marks the log as complete, which ends its followers.
    pub(crate) fn finish(&self) {
        self.progress
            .send_modify(|progress| progress.complete = true);
    }

    /// Bytes from `offset` on, at most `limit`, with the offset at which to continue. Bytes that rotation has dropped
    /// are skipped.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(&self, offset: u64, limit: usize) -> io::Result<(Vec<u8>, u64)> {
        let mut state = self.state.lock();
        let offset = offset.max(state.rotated_base).min(state.end);
        let mut bytes = Vec::new();
        if offset < state.current_base {
            let mut file = File::open(rotated(&state.path))?;
            file.seek(SeekFrom::Start(offset - state.rotated_base))?;
            file.take(limit as u64).read_to_end(&mut bytes)?;
        } else {
            let at = offset - state.current_base;
            state.file.seek(SeekFrom::Start(at))?;
            (&state.file).take(limit as u64).read_to_end(&mut bytes)?;
        }
        let next = offset + bytes.len() as u64;
        Ok((bytes, next))
    }

    /// The offset at which the last `lines` lines begin.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn tail(&self, lines: usize) -> io::Result<u64> {
        let end = self.state.lock().end;
        if lines == 0 {
            return Ok(end);
        }
        let mut offset = self.state.lock().rotated_base;
        let mut starts = std::collections::VecDeque::from([offset]);
        while offset < end {
            let (bytes, next) = self.read(offset, 64 << 10)?;
            if bytes.is_empty() {
                break;
            }
            for (index, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                let start = offset + index as u64 + 1;
                if start < end {
                    starts.push_back(start);
                    if starts.len() > lines {
                        starts.pop_front();
                    }
                }
            }
            offset = next;
        }
        Ok(starts.front().copied().unwrap_or(end))
    }

    /// Waits until there is output after `offset`; false when the log is complete without it. Cancel safe.
    pub(crate) async fn wait_for_output(&self, offset: u64) -> bool {
        let mut progress = self.progress.subscribe();
        let waiting = progress.wait_for(|progress| progress.end > offset || progress.complete);
        waiting.await.is_ok_and(|progress| progress.end > offset)
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .write(true)
        .read(true)
        .truncate(true)
        .open(path)
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, Arc<Log>) {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(&dir.path().join("app.log")).unwrap();
        (dir, Arc::new(log))
    }

    #[test]
    fn tail_starts_at_the_last_lines() {
        let (_dir, log) = log();
        log.append(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(
            log.read(log.tail(2).unwrap(), 100).unwrap().0,
            b"two\nthree\n"
        );
        assert_eq!(
            log.read(log.tail(9).unwrap(), 100).unwrap().0,
            b"one\ntwo\nthree\n"
        );
        assert_eq!(log.read(log.tail(0).unwrap(), 100).unwrap().0, b"");
    }

    #[test]
    fn rotation_keeps_the_last_two_files() {
        let (_dir, log) = log();
        let block = vec![b'x'; MAX_BYTES as usize];
        for _ in 0..3 {
            log.append(&block).unwrap();
        }
        log.append(b"end").unwrap();
        let (bytes, next) = log.read(0, 10).unwrap();
        assert_eq!((bytes.len(), next), (10, 2 * MAX_BYTES + 10));
        assert_eq!(log.read(3 * MAX_BYTES, 10).unwrap().0, b"end");
    }

    #[tokio::test]
    async fn followers_end_when_the_container_does() {
        let (_dir, log) = log();
        log.append(b"a").unwrap();
        assert!(log.wait_for_output(0).await);
        let waiting = tokio::spawn({
            let log = log.clone();
            async move { log.wait_for_output(1).await }
        });
        log.finish();
        assert!(!waiting.await.unwrap());
    }

    #[test]
    fn previous_run_stays_readable_under_its_new_name() {
        let (dir, log) = log();
        log.append(b"old").unwrap();
        log.rename(&dir.path().join("app.previous.log")).unwrap();
        let current = Log::create(&dir.path().join("app.log")).unwrap();
        current.append(b"new").unwrap();
        // The last output of a run may arrive when the next one has begun, in any amount.
        log.append(b" words").unwrap();
        assert_eq!(log.read(0, 10).unwrap().0, b"old words");
        for _ in 0..2 {
            log.append(&vec![b'x'; MAX_BYTES as usize]).unwrap();
        }
        assert_eq!(log.read(0, 3).unwrap().0, b"old");
        assert_eq!(current.read(0, 10).unwrap().0, b"new");
    }
}
