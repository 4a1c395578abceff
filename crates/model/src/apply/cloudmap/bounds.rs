//! Bounds that several inputs share (facts/cloudmap-api.md §4). They hold whatever the state is, so every
//! command checks its own before it looks at the state: the caller of a broken input is told what is
//! broken about it, whether or not what it names exists.

use crate::{FieldPath, Rejection};

/// The longest time to live that DNS knows.
const MAX_TTL: u32 = i32::MAX as u32;

pub(super) fn too_long(field: &str, value: Option<&str>, most: usize) -> Result<(), Rejection> {
    match value {
        Some(value) if value.chars().count() > most => Err(Rejection::invalid(
            field,
            format!("has more than {most} characters"),
        )),
        _ => Ok(()),
    }
}

/// Of a namespace or a service.
pub(super) fn description(field: &str, value: Option<&str>) -> Result<(), Rejection> {
    too_long(field, value, 1024)
}

/// A token by which a call is known again.
pub(super) fn token(field: &str, value: Option<&str>) -> Result<(), Rejection> {
    too_long(field, value, 64)
}

/// Of an instance that should be there. A new one's has to be more.
pub(super) fn instance_id(value: &str) -> Result<(), Rejection> {
    too_long("InstanceId", Some(value), 64)
}

pub(super) fn ttl(field: impl Into<FieldPath>, value: u32) -> Result<(), Rejection> {
    if value > MAX_TTL {
        let message = format!("{value} is not between 0 and {MAX_TTL}");
        return Err(Rejection::invalid(field, message));
    }
    Ok(())
}
