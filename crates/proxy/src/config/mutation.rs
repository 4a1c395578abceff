//! Headers to add and remove, at route-table, virtual-host, route and weighted-cluster level.

use envoy_types::pb::envoy::config::core::v3 as core;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::{ConfigError, ConfigResult, ErrorContext};
use super::format::{Format, LogFields};

/// One level's changes; removals happen before additions.
#[derive(Debug, Default, Clone)]
pub(crate) struct Mutation {
    remove: Vec<HeaderName>,
    add: Vec<Addition>,
}

#[derive(Debug, Clone)]
struct Addition {
    name: HeaderName,
    value: Value,
    action: Action,
    keep_empty: bool,
}

#[derive(Debug, Clone)]
enum Value {
    Fixed(HeaderValue),
    Format(Format),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfPresent,
}

impl Mutation {
    pub(crate) fn compile(
        add: &[core::HeaderValueOption],
        remove: &[String],
        prefix: &str,
    ) -> ConfigResult<Self> {
        let mut compiled = Self::default();
        for (index, name) in remove.iter().enumerate() {
            compiled
                .remove
                .push(header_name(name).context(format!("{prefix}_headers_to_remove[{index}]"))?);
        }
        for (index, option) in add.iter().enumerate() {
            compiled
                .add
                .push(addition(option).context(format!("{prefix}_headers_to_add[{index}]"))?);
        }
        Ok(compiled)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// `fields` is called only when a value is not a constant.
    pub(crate) fn apply(
        &self,
        headers: &mut HeaderMap,
        fields: impl Fn(&HeaderMap, &Format) -> String,
    ) {
        for name in &self.remove {
            headers.remove(name);
        }
        for addition in &self.add {
            let value = match &addition.value {
                Value::Fixed(value) => value.clone(),
                Value::Format(format) => {
                    let text = fields(headers, format);
                    match HeaderValue::from_str(&text) {
                        Ok(value) => value,
                        // A substituted value may hold anything the peer sent; what cannot be a header is dropped.
                        Err(_) => continue,
                    }
                }
            };
            if value.is_empty() && !addition.keep_empty {
                continue;
            }
            let present = headers.contains_key(&addition.name);
            match addition.action {
                Action::Append => {
                    headers.append(&addition.name, value);
                }
                Action::AddIfAbsent if present => {}
                Action::OverwriteIfPresent if !present => {}
                Action::AddIfAbsent | Action::Overwrite | Action::OverwriteIfPresent => {
                    headers.insert(&addition.name, value);
                }
            }
        }
    }

    /// Renders formats from the given fields, with the headers being changed as the request headers.
    pub(crate) fn apply_with(&self, headers: &mut HeaderMap, fields: &LogFields<'_>) {
        self.apply(headers, |current, format| {
            let mut text = String::new();
            let request = fields.request.or(Some(current));
            format.render(
                &LogFields {
                    request,
                    response: Some(current),
                    ..clone(fields)
                },
                &mut text,
            );
            text
        });
    }
}

fn clone<'a>(fields: &LogFields<'a>) -> LogFields<'a> {
    LogFields {
        start: fields.start,
        protocol: fields.protocol,
        method: fields.method,
        path: fields.path,
        authority: fields.authority,
        scheme: fields.scheme,
        status: fields.status,
        upstream_host: fields.upstream_host,
        upstream_cluster: fields.upstream_cluster,
        local: fields.local,
        remote: fields.remote,
        route: fields.route,
        attempts: fields.attempts,
        details: fields.details,
        flags: fields.flags,
        ..LogFields::default()
    }
}

fn addition(option: &core::HeaderValueOption) -> ConfigResult<Addition> {
    use core::header_value_option::HeaderAppendAction;
    let header = option
        .header
        .as_ref()
        .ok_or_else(|| ConfigError::new("header", "is required"))?;
    let name = header_name(&header.key).context("header.key")?;
    let action = match (
        &option.append,
        HeaderAppendAction::try_from(option.append_action),
    ) {
        // `append`, deprecated, still wins where a control plane sends it.
        (Some(append), _) => {
            if append.value {
                Action::Append
            } else {
                Action::Overwrite
            }
        }
        (None, Ok(HeaderAppendAction::AppendIfExistsOrAdd)) => Action::Append,
        (None, Ok(HeaderAppendAction::AddIfAbsent)) => Action::AddIfAbsent,
        (None, Ok(HeaderAppendAction::OverwriteIfExistsOrAdd)) => Action::Overwrite,
        (None, Ok(HeaderAppendAction::OverwriteIfExists)) => Action::OverwriteIfPresent,
        (None, Err(_)) => return Err(ConfigError::new("append_action", "is not a known action")),
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
    if parsed == header::HOST {
        return Err(ConfigError::new(
            "",
            "host cannot be changed here; use host_rewrite_literal",
        ));
    }
    Ok(parsed)
}
