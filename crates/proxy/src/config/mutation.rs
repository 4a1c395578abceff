//! Headers to add and remove, at route-table, virtual-host, route and weighted-cluster level.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::{ConfigError, ConfigResult, ErrorContext, ensure};
use super::field::{Field, Wrapped, field};
use super::format::{Format, LogFields};

/// The header changes of one level; removals happen before additions.
#[derive(Debug, Default, Clone)]
pub(crate) struct Mutation {
    remove: Vec<HeaderName>,
    add: Vec<Addition>,
}

#[derive(Debug, Clone)]
struct Addition {
    name: HeaderName,
    value: Value,
    action: HeaderAppendAction,
    keep_empty: bool,
}

#[derive(Debug, Clone)]
enum Value {
    Fixed(HeaderValue),
    Format(Format),
}

/// The changes of requests and responses of one level.
#[derive(Debug, Default)]
pub(crate) struct Mutations {
    pub(crate) request: Mutation,
    pub(crate) response: Mutation,
}

/// Compiles the four header lists that route tables, virtual hosts, routes and weighted clusters have in common.
macro_rules! mutations {
    ($message:ident) => {{
        use $crate::config::field::field;
        $crate::config::mutation::Mutations {
            request: $crate::config::mutation::Mutation::compile(
                field!($message.request_headers_to_add),
                field!($message.request_headers_to_remove),
            )?,
            response: $crate::config::mutation::Mutation::compile(
                field!($message.response_headers_to_add),
                field!($message.response_headers_to_remove),
            )?,
        }
    }};
}
pub(crate) use mutations;

impl Mutation {
    pub(super) fn compile(
        add: Field<'_, Vec<core::HeaderValueOption>>,
        remove: Field<'_, Vec<String>>,
    ) -> ConfigResult<Self> {
        Ok(Self {
            remove: remove.each(|name| header_name(name))?,
            add: add.each(addition)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Changes headers. Formats read the headers as they are at that moment, unless `fields` has request headers.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, fields: &LogFields<'_>) {
        for name in &self.remove {
            headers.remove(name);
        }
        for addition in &self.add {
            let value = match &addition.value {
                Value::Fixed(value) => value.clone(),
                Value::Format(format) => {
                    let mut text = String::new();
                    let fields = LogFields {
                        request: fields.request.or(Some(headers)),
                        response: Some(headers),
                        ..*fields
                    };
                    format.render(&fields, &mut text);
                    match HeaderValue::from_str(&text) {
                        Ok(value) => value,
                        // A substituted value can contain any bytes from the peer; one that is not a valid header
                        // value is dropped.
                        Err(_) => continue,
                    }
                }
            };
            if value.is_empty() && !addition.keep_empty {
                continue;
            }
            let present = headers.contains_key(&addition.name);
            match addition.action {
                HeaderAppendAction::AppendIfExistsOrAdd => {
                    headers.append(&addition.name, value);
                }
                HeaderAppendAction::AddIfAbsent if present => {}
                HeaderAppendAction::OverwriteIfExists if !present => {}
                _ => {
                    headers.insert(&addition.name, value);
                }
            }
        }
    }
}

fn addition(option: &core::HeaderValueOption) -> ConfigResult<Addition> {
    let header = field!(option.header).required()?;
    let name = header_name(&header.key).context("header.key")?;
    // `append` is deprecated but takes precedence when a control plane sends it.
    let action = match option.append.value() {
        Some(true) => HeaderAppendAction::AppendIfExistsOrAdd,
        Some(false) => HeaderAppendAction::OverwriteIfExistsOrAdd,
        None => field!(option.append_action).variant("action")?,
    };
    let text = if header.raw_value.is_empty() {
        header.value.clone()
    } else {
        String::from_utf8(header.raw_value.clone())
            .map_err(|_| ConfigError::new("header.raw_value", "is not UTF-8"))?
    };
    let format = Format::parse(&text).context("header.value")?;
    let value = match format.literal() {
        Some(text) => Value::Fixed(
            HeaderValue::from_str(text)
                .map_err(|_| ConfigError::new("header.value", "is not a valid header value"))?,
        ),
        None => Value::Format(format),
    };
    Ok(Addition {
        name,
        value,
        action,
        keep_empty: option.keep_empty_value,
    })
}

fn header_name(name: &str) -> ConfigResult<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        ConfigError::new("", format!("{name:?} is not a header that can be changed"))
    })?;
    ensure(
        parsed != header::HOST,
        "",
        "host cannot be changed here; use host_rewrite_literal",
    )?;
    Ok(parsed)
}
