//! Files that are read again when they change. They are compared by content, so that it does not matter
//! whether they are written in place, replaced, or links that now lead elsewhere (as in Kubernetes).

use arc_swap::ArcSwap;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tombolo_telemetry::ErrorChain;

/// How often files are compared.
const INTERVAL: Duration = Duration::from_millis(500);

/// Why a file cannot be used; the message begins with its path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The content is wrong.
    #[error("{location}: {message}")]
    Invalid {
        /// The file, with the line where one is at fault.
        location: String,
        /// What is wrong, and what to do about it.
        message: String,
    },
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

/// What `N` files say, as they were when they were last right. Clones share it.
pub(crate) struct Watched<T, const N: usize> {
    paths: [PathBuf; N],
    decode: Decode<T, N>,
    value: Arc<ArcSwap<T>>,
}

/// Reads the value out of the files, each by its path and its bytes.
pub(crate) type Decode<T, const N: usize> = fn([(&Path, &[u8]); N]) -> Result<T, FileError>;

/// The bytes of all files, or why one cannot be read.
type Contents<const N: usize> = Result<[Vec<u8>; N], String>;

impl<T, const N: usize> Clone for Watched<T, N> {
    fn clone(&self) -> Self {
        Self {
            paths: self.paths.clone(),
            decode: self.decode,
            value: self.value.clone(),
        }
    }
}

impl<T, const N: usize> Watched<T, N> {
    /// Reads the files.
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

    /// The value now.
    pub(crate) fn load(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Replaces the value whenever a file has changed, and never ends. Files that are wrong change nothing; the
    /// log says what is wrong with them.
    pub(crate) async fn follow(&self) -> std::convert::Infallible {
        let mut state = FileState::default();
        loop {
            let is_first = state.taken.is_none();
            if let Some(due) = state.due(self.read().await) {
                match self.take(due) {
                    // It was read a moment ago, by `open`.
                    Ok(()) if is_first => {}
                    Ok(()) => tracing::info!(files = ?self.paths, "files read again"),
                    Err(error) => {
                        tracing::error!(%error, "what was read before stays in force");
                    }
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn take(&self, contents: &Contents<N>) -> Result<(), String> {
        let contents = contents.as_ref().map_err(String::clone)?;
        let files = std::array::from_fn(|i| (&*self.paths[i], contents[i].as_slice()));
        let value = (self.decode)(files).map_err(|error| ErrorChain(&error).to_string())?;
        self.value.store(Arc::new(value));
        Ok(())
    }

    async fn read(&self) -> Contents<N> {
        let mut contents = [const { Vec::new() }; N];
        for (path, bytes) in self.paths.iter().zip(&mut contents) {
            let read = tokio::fs::read(path).await;
            *bytes =
                read.map_err(|error| ErrorChain(&FileError::unreadable(path, error)).to_string())?;
        }
        Ok(contents)
    }
}

/// What was found in the files so far.
struct FileState<C> {
    seen: Option<C>,
    taken: Option<C>,
}

impl<C> Default for FileState<C> {
    fn default() -> Self {
        Self {
            seen: None,
            taken: None,
        }
    }
}

impl<C: Clone + PartialEq> FileState<C> {
    /// Contents that are new and whole. A file that is being written can be read half way, without the end of
    /// a list or of a secret: so contents count when two looks in a row found the same. The first look is the
    /// second one, because the files were read before.
    fn due(&mut self, now: C) -> Option<&C> {
        let is_settled = self.taken.is_none() || self.seen.as_ref() == Some(&now);
        let is_new = self.taken.as_ref() != Some(&now);
        self.seen = Some(now);
        if !(is_settled && is_new) {
            return None;
        }
        self.taken.clone_from(&self.seen);
        self.taken.as_ref()
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
            assert_eq!(state.due(text).is_some(), is_due, "{text:?}");
        }
    }
}
