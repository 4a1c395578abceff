//! Hot reload of files. Changes are detected by content, so files may be written in place, replaced, or symbolic links
//! whose target changes (as in Kubernetes).

use arc_swap::ArcSwap;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tombolo_telemetry::ErrorChain;

/// The interval of checks for changes.
const INTERVAL: Duration = Duration::from_millis(500);

/// A file that cannot be used; the message begins with its path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The content of the file is not valid.
    #[error("{location}: {message}")]
    Invalid {
        /// The path of the file, with the line if one is at fault.
        location: String,
        /// The error and the remedy, for the operator.
        message: String,
    },
}

/// Errors of the system are compared by their kind and number.
impl PartialEq for FileError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Unreadable { path, source },
                Self::Unreadable {
                    path: other_path,
                    source: other,
                },
            ) => {
                path == other_path
                    && source.kind() == other.kind()
                    && source.raw_os_error() == other.raw_os_error()
            }
            (
                Self::Invalid { location, message },
                Self::Invalid {
                    location: other_location,
                    message: other,
                },
            ) => location == other_location && message == other,
            _ => false,
        }
    }
}

impl FileError {
    pub(crate) fn invalid(location: impl ToString, message: impl ToString) -> Self {
        Self::Invalid {
            location: location.to_string(),
            message: message.to_string(),
        }
    }

    fn unreadable(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Unreadable { path, source }
    }
}

/// A value that is decoded from the last valid version of `N` files. Clones share it.
pub(crate) struct HotReload<T, const N: usize> {
    paths: [PathBuf; N],
    decode: Decode<T, N>,
    value: Arc<ArcSwap<T>>,
}

/// Decodes the value from the files, each with its path and its bytes.
pub(crate) type Decode<T, const N: usize> = fn([(&Path, &[u8]); N]) -> Result<T, FileError>;

/// The bytes of all files, or the error of the first that cannot be read.
type Contents<const N: usize> = Result<[Vec<u8>; N], Arc<FileError>>;

impl<T, const N: usize> Clone for HotReload<T, N> {
    fn clone(&self) -> Self {
        Self {
            paths: self.paths.clone(),
            decode: self.decode,
            value: self.value.clone(),
        }
    }
}

impl<T, const N: usize> HotReload<T, N> {
    /// Reads and decodes the files.
    ///
    /// # Errors
    /// A file cannot be read, or is not valid.
    pub(crate) fn open(paths: [&Path; N], decode: Decode<T, N>) -> Result<Self, FileError> {
        let mut contents = [const { Vec::new() }; N];
        for (path, bytes) in paths.into_iter().zip(&mut contents) {
            let read = std::fs::read(path);
            *bytes = read.map_err(|error| FileError::unreadable(path, error))?;
        }
        let value = decode(std::array::from_fn(|i| (paths[i], contents[i].as_slice())))?;
        Ok(Self {
            paths: paths.map(Path::to_owned),
            decode,
            value: Arc::new(ArcSwap::from_pointee(value)),
        })
    }

    /// The current value.
    pub(crate) fn load(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Replaces the value whenever a file has changed, and never returns. If the new version is not valid, the error is
    /// logged and the value stays the same.
    pub(crate) async fn reload_on_change(&self) -> std::convert::Infallible {
        let mut state = FileState::default();
        loop {
            let is_first = state.loaded.is_none();
            if let Some(contents) = state.changed(self.read().await) {
                match self.load_contents(contents) {
                    // The files were already read by `open`.
                    Ok(()) if is_first => {}
                    Ok(()) => tracing::info!(files = ?self.paths, "files read again"),
                    Err(error) => {
                        let error = ErrorChain(&*error);
                        tracing::error!(%error, "what was read before stays in force");
                    }
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn load_contents(&self, contents: &Contents<N>) -> Result<(), Arc<FileError>> {
        let contents = contents.as_ref().map_err(Arc::clone)?;
        let files = std::array::from_fn(|i| (&*self.paths[i], contents[i].as_slice()));
        let value = (self.decode)(files).map_err(Arc::new)?;
        self.value.store(Arc::new(value));
        Ok(())
    }

    async fn read(&self) -> Contents<N> {
        let mut contents = [const { Vec::new() }; N];
        for (path, bytes) in self.paths.iter().zip(&mut contents) {
            let read = tokio::fs::read(path).await;
            *bytes = read.map_err(|error| Arc::new(FileError::unreadable(path, error)))?;
        }
        Ok(contents)
    }
}

/// The state of change detection.
struct FileState<C> {
    /// The contents at the last check.
    seen: Option<C>,
    /// The contents that were loaded last.
    loaded: Option<C>,
}

impl<C> Default for FileState<C> {
    fn default() -> Self {
        Self {
            seen: None,
            loaded: None,
        }
    }
}

impl<C: Clone + PartialEq> FileState<C> {
    /// The contents to load, if they are new and complete. A file that is being written may be read partially,
    /// so contents are complete if two consecutive checks found the same. The first check is an exception,
    /// because the files were read before.
    fn changed(&mut self, now: C) -> Option<&C> {
        let is_settled = self.loaded.is_none() || self.seen.as_ref() == Some(&now);
        let is_new = self.loaded.as_ref() != Some(&now);
        self.seen = Some(now);
        if !(is_settled && is_new) {
            return None;
        }
        self.loaded.clone_from(&self.seen);
        self.loaded.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_when_they_have_settled() {
        let mut state = FileState::default();
        for (text, is_due) in [
            ("whole", true),
            ("whole", false),
            // The file is being written.
            ("", false),
            ("ne", false),
            ("new", false),
            ("new", true),
            ("new", false),
            // A mistake that was taken back at once.
            ("", false),
            ("new", false),
            ("new", false),
        ] {
            assert_eq!(state.changed(text).is_some(), is_due, "{text:?}");
        }
    }
}
