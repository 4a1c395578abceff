//! Authentication and authorization: keys, accounts and policies from one file that an operator writes.
//!
//! Policies only allow; what no policy allows is refused. There are no conditions, no denials and no
//! boundaries. What this deliberately is not: it checks no signatures (see [`crate::sigv4`]), and it makes
//! no keys.
//!
//! Read first: [`Credentials`].

mod file;
mod glob;
mod key_store;
mod managed;
mod operator;

pub(crate) use key_store::{KeyStore, User};
pub(crate) use operator::OperatorAction;

use crate::watch::{FileError, Watched};
use std::{path::Path, sync::Arc};

/// The keys of a credentials file, as it was when it was last right. Clones share them.
#[derive(Clone)]
pub struct Credentials(Watched<KeyStore, 1>);

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is wrong.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Watched::open([path], read).map(Self)
    }

    /// Reads the file again whenever it changes, and never ends. A file that is wrong changes nothing; the
    /// log says what is wrong with it.
    pub async fn follow(self) {
        self.0.follow().await;
    }

    /// The keys as they are now.
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
