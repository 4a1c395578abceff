//! The layout of keys and values in etcd.
//!
//! | key | value |
//! | --- | --- |
//! | `PREFIX/state/head` | the [`Head`]: describes the last write |
//! | `PREFIX/state/records/GENERATION/…` | one record, see `record_codec` and `storage_key` |
//! | `PREFIX/leaders/NAME` | the lease of the replica that leads this work |
//! | `PREFIX/replacing` | the lease of the replica that writes a new generation |
//!
//! Only records of the head's generation are current: the full state is replaced by writing a new generation beside the
//! current one, and then the head.

use super::proto::KeyValue;
use crate::record_codec::RowError;
use serde::{Deserialize, Serialize};
use tombolo_model::{Change, RecordKey, Scope, change::storage_key};

/// The version of the layout; a state of another version is refused.
const FORMAT: u32 = 1;

/// The value of the head key, which every write changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    /// The revision of the store after the write.
    pub(super) revision: u64,
    /// The generation whose records are current.
    pub(super) generation: String,
    /// The unique token of the write: a replica recognises its own write by it if the answer was lost.
    pub(super) token: String,
    /// The token of the previous write: detects a history that was restored from a backup and then diverged.
    pub(super) after: String,
    /// The records that the write deleted, each with the number of records written before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deleted: Vec<(usize, Scope, RecordKey)>,
    /// The ids of the API calls that caused the write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) request_ids: Vec<String>,
}

/// An error in the state in etcd.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    #[error("the state is not readable: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error(
        "the state has format {0}, this program reads format {FORMAT}: use the program that wrote it"
    )]
    Format(u32),
    #[error(transparent)]
    Row(#[from] RowError),
}

impl Head {
    pub(super) fn new(revision: u64, generation: &str, token: &str, after: &str) -> Self {
        Self {
            format: FORMAT,
            revision,
            generation: generation.to_owned(),
            token: token.to_owned(),
            after: after.to_owned(),
            deleted: Vec::new(),
            request_ids: Vec::new(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("heads have string keys")
    }

    pub(super) fn decode(kv: &KeyValue) -> Result<Self, LayoutError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(&kv.value)?;
        if format != FORMAT {
            return Err(LayoutError::Format(format));
        }
        Ok(serde_json::from_slice(&kv.value)?)
    }
}

/// The keys of one control plane in etcd.
#[derive(Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// The range of the watched keys: first and past the last.
    pub(super) fn state(&self) -> (Vec<u8>, Vec<u8>) {
        prefix_range(format!("{}/state/", self.prefix))
    }

    pub(super) fn head(&self) -> Vec<u8> {
        format!("{}/state/head", self.prefix).into()
    }

    /// The range of the records of all generations: first and past the last.
    pub(super) fn generations(&self) -> (Vec<u8>, Vec<u8>) {
        prefix_range(format!("{}/state/records/", self.prefix))
    }

    /// The range of the records of a generation: first and past the last.
    pub(super) fn records(&self, generation: &str) -> (Vec<u8>, Vec<u8>) {
        prefix_range(format!("{}/state/records/{generation}/", self.prefix))
    }

    pub(super) fn record(&self, generation: &str, scope: &Scope, key: &RecordKey) -> Vec<u8> {
        let (mut bytes, _) = self.records(generation);
        bytes.extend(storage_key(scope, key));
        bytes
    }

    pub(super) fn leader(&self, name: &str) -> Vec<u8> {
        format!("{}/leaders/{name}", self.prefix).into()
    }

    pub(super) fn secret(&self) -> Vec<u8> {
        format!("{}/secret", self.prefix).into()
    }

    pub(super) fn replacing(&self) -> Vec<u8> {
        format!("{}/replacing", self.prefix).into()
    }
}

/// The range of the keys with a prefix, which ends with a slash: first and past the last.
fn prefix_range(prefix: String) -> (Vec<u8>, Vec<u8>) {
    let start = prefix.into_bytes();
    let mut end = start.clone();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (start, end)
}

/// The last change of each record, in order: etcd allows a key only once in a transaction.
pub(super) fn last_changes(changes: &[Change]) -> Vec<&Change> {
    let mut seen = std::collections::HashSet::new();
    let mut last: Vec<&Change> = changes
        .iter()
        .rev()
        .filter(|change| seen.insert((change.scope(), change.key())))
        .collect();
    last.reverse();
    last
}

/// Merges the deletions in the head of a write with the records that it wrote to its changes, in order.
pub(super) fn merge_changes(
    head: &Head,
    written: impl IntoIterator<Item = Result<Change, RowError>>,
) -> Result<Vec<Change>, LayoutError> {
    let mut deleted = head.deleted.iter().peekable();
    let mut changes = Vec::new();
    for (before, change) in written.into_iter().enumerate() {
        while let Some((_, scope, key)) = deleted.next_if(|(at, _, _)| *at <= before) {
            changes.push(Change::Delete(scope.clone(), key.clone()));
        }
        changes.push(change?);
    }
    changes.extend(deleted.map(|(_, scope, key)| Change::Delete(scope.clone(), key.clone())));
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(name: &str) -> Change {
        Change::Delete(
            Scope::new("111122223333", "here"),
            RecordKey::Service(name.into()),
        )
    }

    #[test]
    fn the_last_change_of_each_record_keeps_its_place() {
        let changes = ["a", "b", "a", "c", "b"].map(delete);
        let last: Vec<Change> = last_changes(&changes).into_iter().cloned().collect();
        assert_eq!(last, ["a", "c", "b"].map(delete));
    }

    #[test]
    fn deletions_return_to_their_places_among_the_records_written() {
        let mut head = Head::new(1, "g", "t", "s");
        let deletion = |at: usize, name: &str| {
            let change = delete(name);
            (at, change.scope().clone(), change.key())
        };
        head.deleted = vec![deletion(0, "a"), deletion(1, "c"), deletion(2, "e")];
        let kv = KeyValue {
            value: head.encode(),
            ..KeyValue::default()
        };
        assert_eq!(Head::decode(&kv).expect("readable"), head);
        let written = ["b", "d"].map(|name| Ok(delete(name)));
        let changes = merge_changes(&head, written).expect("all readable");
        assert_eq!(changes, ["a", "b", "c", "d", "e"].map(delete));
    }

    #[test]
    fn a_state_of_another_format_is_refused() {
        let kv = KeyValue {
            value: br#"{"format":9,"something":"else"}"#.to_vec(),
            ..KeyValue::default()
        };
        let error = Head::decode(&kv).expect_err("foreign");
        assert!(matches!(error, LayoutError::Format(9)), "{error}");
    }

    #[test]
    fn ranges_hold_their_own_keys_alone() {
        let keys = Keys::new("/p");
        let (start, end) = keys.records("1");
        let own = keys.record("1", &Scope::new("1", "r"), &RecordKey::Service("s".into()));
        let other = keys.record("10", &Scope::new("1", "r"), &RecordKey::Service("s".into()));
        assert!((&start..&end).contains(&&own));
        assert!(!(&start..&end).contains(&&other));
        let (start, end) = keys.state();
        assert!((&start..&end).contains(&&keys.head()));
        assert!(!(&start..&end).contains(&&keys.leader("x")));
    }
}
