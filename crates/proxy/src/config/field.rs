//! Access to one field of a protobuf message; errors name the field.

use std::time::Duration;

use envoy_types::pb::google::protobuf;
use http::HeaderValue;

use super::error::{ConfigError, ConfigResult, ErrorContext, ensure};

/// A field's value with its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a, T> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a T,
}

/// The [`Field`] of a message: `field!(cluster.connect_timeout)`.
macro_rules! field {
    ($message:ident.$field:ident) => {
        $crate::config::field::Field {
            name: stringify!($field).trim_start_matches("r#"),
            value: &$message.$field,
        }
    };
}
pub(crate) use field;

impl<'a, T> Field<'a, T> {
    fn error(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::new(self.name, reason)
    }
}

impl<'a, M> Field<'a, Option<M>> {
    pub(crate) fn required(self) -> ConfigResult<&'a M> {
        self.value.as_ref().ok_or_else(|| self.error("is required"))
    }

    /// Compiles the message, if it is present.
    pub(crate) fn compile<T>(
        self,
        compile: impl FnOnce(&'a M) -> ConfigResult<T>,
    ) -> ConfigResult<Option<T>> {
        let compiled = self.value.as_ref().map(compile);
        compiled.transpose().context(self.name)
    }
}

impl<'a, M> Field<'a, Vec<M>> {
    /// Compiles each message; an error names its index.
    pub(crate) fn each<T>(
        self,
        mut compile: impl FnMut(&'a M) -> ConfigResult<T>,
    ) -> ConfigResult<Vec<T>> {
        let each = self.value.iter().enumerate();
        each.map(|(index, message)| {
            compile(message).map_err(|error| error.context(format!("{}[{index}]", self.name)))
        })
        .collect()
    }
}

impl Field<'_, Option<protobuf::Duration>> {
    fn read(self) -> ConfigResult<Option<Duration>> {
        self.compile(duration)
    }

    pub(crate) fn duration(self, default: Duration) -> ConfigResult<Duration> {
        Ok(self.read()?.unwrap_or(default))
    }

    /// Like [`Field::duration`], but rejects zero, which would make a loop spin.
    pub(crate) fn positive(self, default: Duration) -> ConfigResult<Duration> {
        let read = self.duration(default)?;
        ensure(!read.is_zero(), self.name, "must be positive")?;
        Ok(read)
    }

    /// A timeout as Envoy has it: absence means `default`, and zero means no timeout.
    pub(crate) fn timeout(self, default: Option<Duration>) -> ConfigResult<Option<Duration>> {
        Ok(match self.read()? {
            None => default,
            given => given.filter(|timeout| !timeout.is_zero()),
        })
    }
}

impl Field<'_, u32> {
    /// A port number; `None` when the field is zero.
    pub(crate) fn port(self) -> ConfigResult<Option<u16>> {
        let port = u16::try_from(*self.value).map_err(|_| self.error("is not a port number"))?;
        Ok((port != 0).then_some(port))
    }
}

impl Field<'_, Option<protobuf::UInt32Value>> {
    /// A port number; zero is valid.
    pub(crate) fn port(self) -> ConfigResult<Option<u16>> {
        self.value
            .value()
            .map(u16::try_from)
            .transpose()
            .map_err(|_| self.error("is not a port number"))
    }
}

impl Field<'_, i32> {
    /// A value of an enumeration; an error says that it is not a known `what`.
    pub(crate) fn variant<E: TryFrom<i32>>(self, what: &str) -> ConfigResult<E> {
        E::try_from(*self.value).map_err(|_| self.error(format!("is not a known {what}")))
    }
}

impl Field<'_, String> {
    pub(crate) fn required(self) -> ConfigResult<()> {
        ensure(!self.value.is_empty(), self.name, "is required")
    }

    /// A header value; `None` when the field is empty.
    pub(crate) fn header_value(self) -> ConfigResult<Option<HeaderValue>> {
        if self.value.is_empty() {
            return Ok(None);
        }
        let value = HeaderValue::from_str(self.value);
        value
            .map(Some)
            .map_err(|_| self.error("is not a valid header value"))
    }
}

/// An optional scalar, which protobuf wraps in a message.
pub(crate) trait Wrapped {
    type Value;

    fn value(&self) -> Option<Self::Value>;

    fn value_or(&self, default: Self::Value) -> Self::Value {
        self.value().unwrap_or(default)
    }
}

macro_rules! wrapped {
    ($($wrapper:ident($value:ty)),+) => {
        $(impl Wrapped for Option<protobuf::$wrapper> {
            type Value = $value;

            fn value(&self) -> Option<$value> {
                self.as_ref().map(|wrapper| wrapper.value)
            }
        })+
    };
}
wrapped!(BoolValue(bool), UInt32Value(u32), UInt64Value(u64));

fn duration(value: &protobuf::Duration) -> ConfigResult<Duration> {
    let negative = |_| ConfigError::new("", "is a negative duration");
    let seconds = u64::try_from(value.seconds).map_err(negative)?;
    let nanos = u32::try_from(value.nanos).map_err(negative)?;
    // The bounds of `google.protobuf.Duration`.
    let is_valid = nanos < 1_000_000_000 && seconds <= 315_576_000_000;
    ensure(is_valid, "", "is not a valid duration")?;
    Ok(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_durations_are_rejected() {
        let (seconds, nanos) = (-1, 0);
        assert!(duration(&protobuf::Duration { seconds, nanos }).is_err());
    }
}
