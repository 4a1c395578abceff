//! Records as bytes: the same in a redb file and in etcd.

use serde::{Deserialize, Serialize};
use tombolo_model::{Change, Record, Scope, View};

/// One stored record. Its key is `tombolo_model::change::storage_key`.
#[derive(Serialize, Deserialize)]
struct Row {
    scope: Scope,
    record: Record,
}

pub(crate) fn encode(scope: &Scope, record: &Record) -> Vec<u8> {
    let row = Row {
        scope: scope.clone(),
        record: record.clone(),
    };
    serde_json::to_vec(&row).expect("records have string keys")
}

/// A stored record cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a record is not readable: {0}")]
pub(crate) struct RowError(#[from] serde_json::Error);

pub(crate) fn decode(bytes: &[u8]) -> Result<(Scope, Record), RowError> {
    let row: Row = serde_json::from_slice(bytes)?;
    Ok((row.scope, row.record))
}

/// The state that these records make up.
pub(crate) fn view(revision: u64, records: impl IntoIterator<Item = (Scope, Record)>) -> View {
    let mut view = View::default();
    view.revision = revision;
    for (scope, record) in records {
        view.apply(revision, &Change::Put(scope, record));
    }
    view
}
