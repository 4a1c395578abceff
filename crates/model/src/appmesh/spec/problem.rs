//! What is wrong with a spec, and where.

use std::{fmt, ops::RangeInclusive};

/// The first rule that a spec breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field: `spec.listeners[0].portMapping.port`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

pub(crate) type Checked = Result<(), Problem>;

/// A number within bounds.
pub(crate) fn number<N: PartialOrd + fmt::Display>(
    at: &str,
    value: N,
    bounds: RangeInclusive<N>,
) -> Checked {
    if bounds.contains(&value) {
        return Ok(());
    }
    let (low, high) = (bounds.start(), bounds.end());
    Err(Problem::new(
        at,
        format!("{value} is not between {low} and {high}"),
    ))
}

/// A text whose length in characters is within bounds.
pub(crate) fn text(at: &str, value: &str, bounds: RangeInclusive<usize>) -> Checked {
    let length = value.chars().count();
    if bounds.contains(&length) {
        return Ok(());
    }
    let (low, high) = (bounds.start(), bounds.end());
    Err(Problem::new(
        at,
        format!("has {length} characters, allowed are {low} to {high}"),
    ))
}

/// A list whose length is within bounds.
pub(crate) fn list<T>(at: &str, value: &[T], bounds: RangeInclusive<usize>) -> Checked {
    let length = value.len();
    if bounds.contains(&length) {
        return Ok(());
    }
    let (low, high) = (bounds.start(), bounds.end());
    Err(Problem::new(
        at,
        format!("has {length} items, allowed are {low} to {high}"),
    ))
}

/// Exactly one of several alternatives is given.
pub(crate) fn exactly_one(at: &str, given: &[(&str, bool)]) -> Checked {
    if given.iter().filter(|(_, is_given)| *is_given).count() == 1 {
        return Ok(());
    }
    let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
    Err(Problem::new(
        at,
        format!("must have exactly one of {}", names.join(", ")),
    ))
}
