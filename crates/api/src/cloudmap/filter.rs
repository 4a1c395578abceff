//! The filters of lists (facts/cloudmap-api.md §5).

use super::invalid;
use crate::wire::{Call, Failure};
use serde::Deserialize;

/// One filter; several are joined by "and".
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) values: Vec<String>,
    condition: Option<Condition>,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Condition {
    Eq,
    In,
    Between,
    BeginsWith,
}

/// Most filters of an input, and most values of a filter: each item of a list is compared with all of them.
pub(super) const MOST: usize = 100;

impl Filter {
    /// The condition, `EQ` when none is given. Checks that it is one of `allowed` and has as many values
    /// as it needs.
    pub(super) fn condition(&self, allowed: &[Condition]) -> Result<Condition, Failure> {
        let condition = self.condition.unwrap_or(Condition::Eq);
        if !allowed.contains(&condition) {
            let message = format!("Filters: {} cannot be compared by {condition:?}", self.name);
            return Err(invalid(message));
        }
        let is_enough = match condition {
            Condition::Eq | Condition::BeginsWith => self.values.len() == 1,
            Condition::Between => self.values.len() == 2,
            Condition::In => (1..=MOST).contains(&self.values.len()),
        };
        if !is_enough {
            let message = format!(
                "Filters: {} has {} values, which {condition:?} does not take",
                self.name,
                self.values.len()
            );
            return Err(invalid(message));
        }
        let is_legal = |value: &str| (1..=255).contains(&value.chars().count());
        if let Some(value) = self.values.iter().find(|value| !is_legal(value)) {
            let message = format!("Filters: the value {value:?} has not 1 to 255 characters");
            return Err(invalid(message));
        }
        Ok(condition)
    }

    /// Whether a text passes under the condition.
    pub(super) fn matches(&self, condition: Condition, text: &str) -> bool {
        self.values.iter().any(|value| match condition {
            Condition::BeginsWith => text.starts_with(value.as_str()),
            _ => text == value,
        })
    }

    /// Whether the filter lets the caller's own resources pass. There are no others: accounts share
    /// nothing here.
    pub(super) fn includes_own(&self, call: &Call<'_>) -> Result<bool, Failure> {
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

    /// The refusal of a filter that the list does not have.
    pub(super) fn unknown(&self) -> Failure {
        invalid(format!("Filters: {:?} is not a filter here", self.name))
    }
}
