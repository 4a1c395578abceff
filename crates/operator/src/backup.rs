//! Import of a state, for the server and for commands that open a store themselves.

use tombolo_store::{ReplaceError, Store, export};

/// The reason why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The text is invalid; each line as `LINE: MESSAGE`.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// The store has a state already, and overwriting was not requested.
    #[error("{0}")]
    NotEmpty(String),
    /// The store cannot be written.
    #[error("{0}")]
    Unavailable(String),
}

/// Replaces the state of a store by an exported one; its revision.
///
/// # Errors
/// The store is unchanged then.
pub async fn import(store: &Store, text: Vec<u8>, overwrite: bool) -> Result<u64, ImportError> {
    let read = tokio::task::spawn_blocking(move || match std::str::from_utf8(&text) {
        Ok(text) => export::read(text)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>()),
        Err(error) => {
            let before = &text[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(vec![format!("{line}: not UTF-8 text")])
        }
    });
    let state = read
        .await
        .map_err(|error| ImportError::Unavailable(error.to_string()))?
        .map_err(ImportError::Invalid)?;
    let replaced = store.replace(state, overwrite).await;
    replaced.map_err(|error| match error {
        ReplaceError::NotEmpty { .. } => ImportError::NotEmpty(error.to_string()),
        ReplaceError::Unavailable(_) => ImportError::Unavailable(error.to_string()),
    })
}
