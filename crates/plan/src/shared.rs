//! Parts of plans that several workloads have in common.

use serde::{Serialize, Serializer};
use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// A part that can be shared, and what it is encoded to.
pub trait Part {
    /// The encoded form.
    type Encoded;
}

/// A part of plans that is compiled once, encoded once and held by every plan that has it. A clone is a
/// pointer; comparing a part with itself costs nothing.
pub struct Shared<T: Part>(Arc<Inner<T>>);

struct Inner<T: Part> {
    value: T,
    encoded: OnceLock<T::Encoded>,
}

impl<T: Part> Shared<T> {
    /// The encoded form; `encode` makes it at the first call.
    pub(crate) fn encoded(&self, encode: impl FnOnce(&T) -> T::Encoded) -> &T::Encoded {
        self.0.encoded.get_or_init(|| encode(&self.0.value))
    }

    /// Whether somebody else has it too.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Whether both are the same one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Part> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        let encoded = OnceLock::new();
        Self(Arc::new(Inner { value, encoded }))
    }
}

impl<T: Part> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Part> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Part + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl<T: Part + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Part + Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}
