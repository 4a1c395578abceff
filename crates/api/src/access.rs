//! Who may call, and what they may do: keys, accounts and policies from one file that an operator writes.
//!
//! Policies only allow; what nothing allows is refused. There are no conditions, no denials and no
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

use crate::watch;
use arc_swap::ArcSwap;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The keys of a credentials file, as it was when it was last right. Clones share them.
#[derive(Clone)]
pub struct Credentials {
    path: PathBuf,
    keys: Arc<ArcSwap<KeyStore>>,
}

/// Bytes of a credentials file: about five thousand keys.
const MAX_FILE: usize = 1 << 20;

impl Credentials {
    /// Reads a file. The error names the line that is wrong.
    pub fn open(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let keys = read(path, &bytes)?;
        Ok(Self {
            path: path.to_owned(),
            keys: Arc::new(ArcSwap::from_pointee(keys)),
        })
    }

    /// Reads the file again whenever it changes, and never ends. A file that is wrong changes nothing; the
    /// log says what is wrong with it.
    pub async fn follow(self) {
        let path = self.path.clone();
        watch::follow(&[path], |contents| {
            let [bytes] = contents else {
                return Err("the file is gone".into());
            };
            let keys = read(&self.path, bytes)?;
            let count = keys.len();
            self.keys.store(Arc::new(keys));
            Ok(format!("{count} keys"))
        })
        .await;
    }

    /// The keys as they are now.
    pub(crate) fn key_store(&self) -> Arc<KeyStore> {
        self.keys.load_full()
    }
}

fn read(path: &Path, bytes: &[u8]) -> Result<KeyStore, String> {
    let at = |line: usize, why: &str| format!("{}:{line}: {why}", path.display());
    if bytes.len() > MAX_FILE {
        return Err(at(1, &format!("the file has more than {MAX_FILE} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| at(1, "the file is not text (UTF-8)"))?;
    file::read(text).map_err(|problem| at(problem.line, &problem.message))
}
