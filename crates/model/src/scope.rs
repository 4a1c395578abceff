//! Scopes, the partitions of all state: an account in a region, as in AWS.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// An account in a region. Nothing in one scope is visible from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Twelve digits.
    pub account: Arc<str>,
    /// For example `us-west-2`. Regions are only labels here: any text that fits into an ARN is accepted.
    pub region: Arc<str>,
}

impl Scope {
    /// A scope of two valid names; see [`Scope::parse`].
    pub fn new(account: impl Into<Arc<str>>, region: impl Into<Arc<str>>) -> Self {
        Self {
            account: account.into(),
            region: region.into(),
        }
    }

    /// A scope of two names.
    ///
    /// # Errors
    /// The account is not twelve digits, or the region is not 1 to 64 letters, digits or dashes.
    pub fn parse(account: &str, region: &str) -> Result<Self, InvalidScope> {
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidScope::Account(account.to_owned()));
        }
        if region.is_empty()
            || region.len() > 64
            || !region
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return Err(InvalidScope::Region(region.to_owned()));
        }
        Ok(Self::new(account, region))
    }
}

/// An account or a region that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// The account is not twelve digits.
    #[error("account {0:?} is not twelve digits")]
    Account(String),
    /// The region is not 1 to 64 letters, digits or dashes.
    #[error("region {0:?} is not 1 to 64 letters, digits and dashes")]
    Region(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}
