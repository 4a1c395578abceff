//! Parts of plans that several workloads share, each encoded once.

use serde::{Serialize, Serializer};
use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// A reference-counted part `T` of a plan, with its encoded form `E`. It is compiled and encoded once, and all plans
/// that have it share it. A clone is a pointer; comparing a part with itself is a pointer comparison.
pub struct Shared<T, E>(Arc<Inner<T, E>>);

struct Inner<T, E> {
    value: T,
    encoded: OnceLock<E>,
}

impl<T, E> Shared<T, E> {
    /// The encoded form; the first call makes it with `encode`.
    pub(crate) fn encoded(&self, encode: impl FnOnce(&T) -> E) -> &E {
        self.0.encoded.get_or_init(|| encode(&self.0.value))
    }

    /// Whether more than one reference exists.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Whether both are the same allocation.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T, E> From<T> for Shared<T, E> {
    fn from(value: T) -> Self {
        let encoded = OnceLock::new();
        Self(Arc::new(Inner { value, encoded }))
    }
}

impl<T, E> Clone for Shared<T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, E> Deref for Shared<T, E> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq, E> PartialEq for Shared<T, E> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl<T: fmt::Debug, E> fmt::Debug for Shared<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Serialize, E> Serialize for Shared<T, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}
