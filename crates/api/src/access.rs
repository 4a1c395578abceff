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
mod role;
mod session_keys;

pub(crate) use key_store::{KeyStore, User};
pub(crate) use operator::OperatorAction;
pub(crate) use role::{TrustMatch, provider};
pub(crate) use session_keys::{
    Issued, SessionKeys, arn as session_arn, user_id as session_user_id,
};

use crate::{
    hot_reload::{FileError, HotReload},
    oidc::KeySets,
};
use std::{path::Path, sync::Arc};

/// The keys of the last valid version of a credentials file. Clones share them.
#[derive(Clone)]
pub struct Credentials {
    file: HotReload<KeyStore, 1>,
    issuers: KeySets,
}

impl Credentials {
    /// Reads a credentials file.
    ///
    /// # Errors
    /// The file cannot be read, or is not valid.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            file: HotReload::open([path], read)?,
            issuers: KeySets::default(),
        })
    }

    /// Reloads the file whenever it changes, and never returns. If the new version is not valid, the error
    /// is logged and the keys stay the same.
    pub async fn reload_on_change(self) {
        self.file.reload_on_change().await;
    }

    /// The current keys.
    pub(crate) fn key_store(&self) -> Arc<KeyStore> {
        self.file.load()
    }

    /// The keys of the issuers in the file.
    pub(crate) fn issuers(&self) -> &KeySets {
        &self.issuers
    }
}

fn read([(path, bytes)]: [(&Path, &[u8]); 1]) -> Result<KeyStore, FileError> {
    let at = |line: usize, message: &str| {
        FileError::invalid(format!("{}:{line}", path.display()), message)
    };
    let text = std::str::from_utf8(bytes).map_err(|_| at(1, "the file is not text (UTF-8)"))?;
    file::read(text).map_err(|problem| at(problem.line, &problem.message))
}
