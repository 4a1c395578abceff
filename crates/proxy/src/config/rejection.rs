//! Why a resource was not adopted: the field at fault and what is wrong with it.

use std::collections::HashMap;
use std::fmt;

/// Names the field (a path such as `virtual_hosts[2].routes[0].match`) and the reason.
///
/// The text is sent back to the control plane as the NACK detail, so it is written for the operator who has to
/// change that field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    field: String,
    reason: String,
}

pub(crate) type Compiled<T> = Result<T, Rejection>;

impl Rejection {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The field is understood, but this proxy cannot do what it asks for. Adopting the resource without it would
    /// change behaviour silently, so the resource is refused.
    pub(crate) fn unsupported(field: impl Into<String>) -> Self {
        Self::new(field, "is set, but this proxy does not support it")
    }

    /// Prefixes the path with the place where the nested message sits.
    #[must_use]
    pub(crate) fn under(mut self, outer: impl fmt::Display) -> Self {
        self.field = if self.field.is_empty() {
            outer.to_string()
        } else {
            format!("{outer}.{}", self.field)
        };
        self
    }

    /// The path of the field at fault, from the resource's root.
    #[cfg(test)]
    pub(crate) fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.field, self.reason)
        }
    }
}

impl std::error::Error for Rejection {}

/// Adds the outer path to errors of nested messages.
pub(crate) trait Under<T> {
    fn under(self, outer: impl fmt::Display) -> Compiled<T>;
}

impl<T> Under<T> for Compiled<T> {
    fn under(self, outer: impl fmt::Display) -> Compiled<T> {
        self.map_err(|rejection| rejection.under(outer))
    }
}

/// Whether a protobuf field differs from its default.
pub(crate) trait Presence {
    fn is_set(&self) -> bool;
}

impl<T> Presence for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }
}

impl<T> Presence for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V> Presence for HashMap<K, V> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl Presence for String {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl Presence for bool {
    fn is_set(&self) -> bool {
        *self
    }
}

impl Presence for i32 {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

impl Presence for u32 {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

/// Refuses a message when one of the listed fields is set.
macro_rules! refuse_set {
    ($message:expr; $($field:ident),+ $(,)?) => {
        $(if $crate::config::rejection::Presence::is_set(&$message.$field) {
            return Err($crate::config::rejection::Rejection::unsupported(
                stringify!($field).trim_start_matches("r#"),
            ));
        })+
    };
}
pub(crate) use refuse_set;
