//! The name of a workload.

use std::fmt;
use tombolo_model::{RecordKey, Scope};

/// What a group of proxies stands for: an object of an account and region, such as a virtual node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Whose it is.
    pub scope: Scope,
    /// Which it is.
    pub key: RecordKey,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of account {} in {}",
            self.key, self.scope.account, self.scope.region
        )
    }
}
