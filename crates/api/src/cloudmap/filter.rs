//! The filters of lists (facts/cloudmap-api.md §5).

use super::invalid;
use crate::{call::Call, error::ApiError};
use serde::{Deserialize, Serialize};

/// One filter; several are combined with AND.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Filter {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
    pub(crate) condition: Option<Condition>,
}

/// The comparison of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Condition {
    Eq,
    In,
    Between,
    BeginsWith,
}

/// The maximum number of filters in an input, and of values in a filter: each item of a list is compared with all of
/// them.
const MAX: usize = 100;

/// The filters of an input.
///
/// # Errors
/// There are too many.
pub(super) fn checked(filters: Option<&[Filter]>) -> Result<&[Filter], ApiError> {
    let filters = filters.unwrap_or_default();
    if filters.len() > MAX {
        let count = filters.len();
        return Err(invalid(format!("Filters: {count} are more than {MAX}")));
    }
    Ok(filters)
}

impl Filter {
    /// The filter for equality with one value.
    pub(crate) fn equals(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            values: vec![value.to_owned()],
            condition: Some(Condition::Eq),
        }
    }

    /// The condition; `EQ` if none is given.
    ///
    /// # Errors
    /// The condition is not one of `allowed`, or its values are not valid.
    pub(super) fn condition(&self, allowed: &[Condition]) -> Result<Condition, ApiError> {
        let condition = self.condition.unwrap_or(Condition::Eq);
        if !allowed.contains(&condition) {
            let message = format!("Filters: {} cannot be compared by {condition:?}", self.name);
            return Err(invalid(message));
        }
        let is_enough = match condition {
            Condition::Eq | Condition::BeginsWith => self.values.len() == 1,
            Condition::Between => self.values.len() == 2,
            Condition::In => (1..=MAX).contains(&self.values.len()),
        };
        if !is_enough {
            let message = format!(
                "Filters: {} has {} values, which {condition:?} does not accept",
                self.name,
                self.values.len()
            );
            return Err(invalid(message));
        }
        let is_legal = |value: &str| (1..=255).contains(&value.chars().count());
        if let Some(value) = self.values.iter().find(|value| !is_legal(value)) {
            let message = format!("Filters: the value {value:?} does not have 1 to 255 characters");
            return Err(invalid(message));
        }
        Ok(condition)
    }

    /// Whether a text matches under the condition.
    pub(super) fn matches(&self, condition: Condition, text: &str) -> bool {
        self.values.iter().any(|value| match condition {
            Condition::BeginsWith => text.starts_with(value.as_str()),
            _ => text == value,
        })
    }

    /// Whether the filter includes the caller's own resources. There are no others, because accounts share nothing.
    pub(super) fn includes_own(&self, call: &Call<'_>) -> Result<bool, ApiError> {
        self.condition(&[Condition::Eq])?;
        match self.values.first().map(String::as_str) {
            Some("SELF") => Ok(true),
            Some("OTHER_ACCOUNTS") => Ok(false),
            Some(other) => Err(invalid(format!(
                "Filters: RESOURCE_OWNER is SELF or OTHER_ACCOUNTS, seen from {}; not {other:?}",
                call.scope.account
            ))),
            None => Ok(true),
        }
    }

    /// The error of a filter that the list does not have.
    pub(super) fn unknown(&self) -> ApiError {
        invalid(format!("Filters: {:?} is not a filter here", self.name))
    }
}
