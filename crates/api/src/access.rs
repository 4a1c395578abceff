//! Authentication and authorization: keys, accounts and policies from one file that an operator writes.
//!
//! Policies only allow; an action that no policy allows is refused. There are no conditions, no denials and no
//! boundaries. This module deliberately checks no signatures (see [`crate::sigv4`]) and creates no keys.
//!
//! Read first: [`Credentials`].

mod file;
mod glob;
mod key_store;
mod managed;
mod operator;

pub(crate) use key_store::{KeyStore, User};
pub(crate) use operator::OperatorAction;

use crate::hot_reload::{FileError, HotReload};
use std::{path::Path, sync::Arc};

/// The keys of the last valid version of a credentials file. Clones share them.
#[derive(Clone)]
pub struct Credentials(HotReload<KeyStore, 1>);

impl Credentials {
    /// Reads a credentials file.
    ///
    /// # Errors
    /// The file cannot be read, or is not valid.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        HotReload::open([path], read).map(Self)
    }

    /// Reloads the file whenever it changes, and never returns. If the new version is not valid, the error
    /// is logged and the keys stay the same.
    pub async fn reload_on_change(self) {
        self.0.reload_on_change().await;
    }

    /// The current keys.
    pub(crate) fn key_store(&self) -> Arc<KeyStore> {
        self.0.load()
    }
}

fn read([(path, bytes)]: [(&Path, &[u8]); 1]) -> Result<KeyStore, FileError> {
    let at = |line: usize, message: &str| {
        FileError::invalid(format!("{}:{line}", path.display()), message)
    };
    let text = std::str::from_utf8(bytes).map_err(|_| at(1, "the file is not text (UTF-8)"))?;
    file::read(text).map_err(|problem| at(problem.line, &problem.message))
}
