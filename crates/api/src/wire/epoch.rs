//! The serde format of AWS timestamps in JSON: seconds since 1970, with a fraction.

use serde::{Deserialize, Deserializer, Serializer};
use tombolo_model::Timestamp;

pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.epoch_seconds())
}

/// A time before 1970 becomes 1970.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let seconds = f64::deserialize(from)?;
    Ok(Timestamp((seconds * 1000.0).round() as u64))
}
