//! Writes an export.

use super::FORMAT;
use crate::full_state::FullState;
use serde_json::{Map, Value, json};
use std::io;
use tombolo_document::yaml;
use tombolo_model::{Record, Scope};

/// Writes a state as an export, record by record.
pub fn write(state: &FullState, out: &mut impl io::Write) -> io::Result<()> {
    let head = json!({
        "format": FORMAT,
        "revision": state.revision,
        "records": state.records.len(),
    });
    out.write_all(yaml::write(&head).as_bytes())?;
    for (scope, record) in &state.records {
        out.write_all(b"---\n")?;
        out.write_all(yaml::write(&document(scope, record)).as_bytes())?;
    }
    Ok(())
}

/// The document of a record.
fn document(scope: &Scope, record: &Record) -> Value {
    let mut members = Map::new();
    members.insert("account".into(), scope.account.as_ref().into());
    members.insert("region".into(), scope.region.as_ref().into());
    if let Value::Object(typed) = record.to_value() {
        members.extend(typed);
    }
    Value::Object(members)
}
