//! The reason why a resource is rejected: a field and a message.

use std::fmt;

/// The rejected field (a path such as `virtual_hosts[2].routes[0].match`) and the reason.
///
/// The text is sent back to the control plane as the NACK detail, so it is written for the operator who has to change
/// that field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    field: String,
    reason: String,
}

pub(crate) type ConfigResult<T> = Result<T, ConfigError>;

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The field is known, but not supported. Ignoring it would change behaviour silently, so the resource is
    /// rejected.
    pub(crate) fn unsupported(field: impl Into<String>) -> Self {
        Self::new(field, "is set, but this proxy does not support it")
    }

    /// Prefixes the field's path with that of the enclosing message.
    #[must_use]
    pub(crate) fn context(mut self, outer: impl fmt::Display) -> Self {
        self.field = if self.field.is_empty() {
            outer.to_string()
        } else {
            format!("{outer}.{}", self.field)
        };
        self
    }

    /// The path of the field, from the root of the resource.
    #[cfg(test)]
    pub(crate) fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.field, self.reason)
        }
    }
}

impl std::error::Error for ConfigError {}

/// Adds the path of the enclosing message to errors.
pub(crate) trait ErrorContext<T> {
    fn context(self, outer: impl fmt::Display) -> ConfigResult<T>;
}

impl<T> ErrorContext<T> for ConfigResult<T> {
    fn context(self, outer: impl fmt::Display) -> ConfigResult<T> {
        self.map_err(|error| error.context(outer))
    }
}

/// Rejects the resource unless `condition` holds.
pub(crate) fn ensure(
    condition: bool,
    field: impl Into<String>,
    reason: impl Into<String>,
) -> ConfigResult<()> {
    if condition {
        Ok(())
    } else {
        Err(ConfigError::new(field, reason))
    }
}

/// Whether a protobuf field differs from its default, and so was set by the control plane.
pub(crate) fn is_set<T: Default + PartialEq>(value: &T) -> bool {
    *value != T::default()
}

/// Rejects a message when one of the listed fields is set.
macro_rules! reject_set {
    ($message:expr; $($field:ident),+ $(,)?) => {
        $(if $crate::config::error::is_set(&$message.$field) {
            return Err($crate::config::error::ConfigError::unsupported(stringify!($field)));
        })+
    };
}
pub(crate) use reject_set;
