//! The encoding of records, the same in a redb file and in etcd.

use tombolo_model::{Change, Record, Scope, View, change};

/// One record; its key is `tombolo_model::change::storage_key`.
pub(crate) fn encode(scope: &Scope, record: &Record) -> Vec<u8> {
    change::to_json(scope, record)
}

/// A stored record cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a record is not readable: {0}")]
pub(crate) struct RowError(#[from] serde_json::Error);

pub(crate) fn decode(bytes: &[u8]) -> Result<(Scope, Record), RowError> {
    Ok(change::from_json(bytes)?)
}

/// The view of these records.
pub(crate) fn view(revision: u64, records: impl IntoIterator<Item = (Scope, Record)>) -> View {
    let mut view = View::default();
    view.revision = revision;
    for (scope, record) in records {
        view.apply(revision, &Change::Put(scope, record));
    }
    view
}
