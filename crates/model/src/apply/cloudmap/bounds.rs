//! Bounds that several inputs share (facts/cloudmap-api.md §4). They do not depend on the state, so every command
//! checks them before it reads the state: the caller of an invalid input learns what is invalid, whether or not what
//! it names exists.

use crate::{FieldPath, Reason, Rejection};

const MAX_ID: usize = 255;
/// The maximum TTL in DNS, in seconds.
const MAX_TTL: u32 = i32::MAX as u32;

pub(super) fn too_long(field: &str, value: Option<&str>, max: usize) -> Result<(), Rejection> {
    match value {
        Some(value) if value.chars().count() > max => Err(Rejection::invalid(
            field,
            format!("has more than {max} characters"),
        )),
        _ => Ok(()),
    }
}

/// The description of a namespace or a service.
pub(super) fn description(field: &str, value: Option<&str>) -> Result<(), Rejection> {
    too_long(field, value, 1024)
}

/// A token that identifies a retry.
pub(super) fn token(field: &str, value: Option<&str>) -> Result<(), Rejection> {
    too_long(field, value, 64)
}

/// The id or ARN of a namespace or service.
pub(super) fn id(text: &str) -> Result<(), Rejection> {
    if !(1..=MAX_ID).contains(&text.chars().count()) {
        let message = format!("an id or ARN has 1 to {MAX_ID} characters");
        return Err(Rejection::new(Reason::Invalid, message));
    }
    Ok(())
}

/// The id of an existing instance. There are more rules for a new one.
///
/// # Errors
/// The id is longer than 64 characters.
pub fn instance_id(text: &str) -> Result<(), Rejection> {
    too_long("InstanceId", Some(text), 64)
}

pub(super) fn ttl(field: impl Into<FieldPath>, value: u32) -> Result<(), Rejection> {
    if value > MAX_TTL {
        let message = format!("{value} is not between 0 and {MAX_TTL}");
        return Err(Rejection::invalid(field, message));
    }
    Ok(())
}
