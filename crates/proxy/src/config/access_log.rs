//! Access logs: the file and the format of each.

use std::sync::Arc;

use envoy_types::pb::envoy::config::accesslog::v3 as proto;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers::{file::v3 as file, stream::v3 as stream};
use envoy_types::pb::google::protobuf;

use super::any::{any_name, decode_any};
use super::data_source::inline_data;
use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::field::field;
use super::format::{DEFAULT_ACCESS_LOG, Format, LogFields};

/// One configured log: a file path and the format of a line.
#[derive(Debug)]
pub(crate) struct AccessLog {
    pub(crate) path: Arc<str>,
    line: Line,
}

#[derive(Debug)]
enum Line {
    Text(Format),
    Json(Json),
}

#[derive(Debug)]
enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    Format(Format),
    Fixed(serde_json::Value),
}

impl AccessLog {
    pub(crate) fn compile(log: &proto::AccessLog) -> ConfigResult<Self> {
        reject_set!(log; filter);
        let Some(proto::access_log::ConfigType::TypedConfig(any)) = &log.config_type else {
            return Err(ConfigError::new("typed_config", "is required"));
        };
        match any_name(any) {
            "envoy.extensions.access_loggers.file.v3.FileAccessLog" => {
                let config: file::FileAccessLog = decode_any(any).context("typed_config")?;
                field!(config.path).required().context("typed_config")?;
                Ok(Self {
                    path: config.path.as_str().into(),
                    line: file_line(&config).context("typed_config")?,
                })
            }
            "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" => {
                use stream::stdout_access_log::AccessLogFormat::LogFormat;
                let config: stream::StdoutAccessLog = decode_any(any).context("typed_config")?;
                let format = config.access_log_format;
                Self::stream("/dev/stdout", format.map(|LogFormat(format)| format))
            }
            "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" => {
                use stream::stderr_access_log::AccessLogFormat::LogFormat;
                let config: stream::StderrAccessLog = decode_any(any).context("typed_config")?;
                let format = config.access_log_format;
                Self::stream("/dev/stderr", format.map(|LogFormat(format)| format))
            }
            other => Err(ConfigError::new(
                "typed_config",
                format!("access log {other} is not supported"),
            )),
        }
    }

    fn stream(path: &str, format: Option<core::SubstitutionFormatString>) -> ConfigResult<Self> {
        let line = substitution(format.as_ref()).context("typed_config.log_format")?;
        Ok(Self {
            path: path.into(),
            line,
        })
    }

    /// Appends one line.
    pub(crate) fn write(&self, log_fields: &LogFields<'_>, out: &mut String) {
        match &self.line {
            Line::Text(format) => format.render(log_fields, out),
            Line::Json(json) => {
                out.push_str(&json.render(log_fields).to_string());
                out.push('\n');
            }
        }
    }
}

fn file_line(config: &file::FileAccessLog) -> ConfigResult<Line> {
    use file::file_access_log::AccessLogFormat;
    match &config.access_log_format {
        Some(AccessLogFormat::Format(text)) if !text.is_empty() => text_line(text, "format"),
        Some(AccessLogFormat::JsonFormat(json) | AccessLogFormat::TypedJsonFormat(json)) => {
            json_line(json)
        }
        Some(AccessLogFormat::LogFormat(format)) => {
            substitution(Some(format)).context("log_format")
        }
        None | Some(AccessLogFormat::Format(_)) => substitution(None),
    }
}

fn substitution(format: Option<&core::SubstitutionFormatString>) -> ConfigResult<Line> {
    use core::substitution_format_string::Format as Choice;
    if let Some(format) = format {
        reject_set!(format; formatters);
    }
    match format.and_then(|format| format.format.as_ref()) {
        Some(Choice::TextFormat(text)) => text_line(text, "text_format"),
        Some(Choice::TextFormatSource(source)) => {
            let text = inline_data(source).context("text_format_source")?;
            let text = String::from_utf8(text)
                .map_err(|_| ConfigError::new("text_format_source", "is not UTF-8"))?;
            text_line(&text, "text_format_source")
        }
        Some(Choice::JsonFormat(json)) => json_line(json),
        None => text_line(DEFAULT_ACCESS_LOG, ""),
    }
}

fn text_line(text: &str, field: &str) -> ConfigResult<Line> {
    Ok(Line::Text(Format::parse(text).context(field)?))
}

fn json_line(json: &protobuf::Struct) -> ConfigResult<Line> {
    Ok(Line::Json(
        Json::compile_object(json).context("json_format")?,
    ))
}

impl Json {
    fn compile_object(object: &protobuf::Struct) -> ConfigResult<Self> {
        let mut fields = object
            .fields
            .iter()
            .map(|(name, value)| Ok((name.clone(), Self::compile(value).context(name)?)))
            .collect::<ConfigResult<Vec<_>>>()?;
        // A protobuf map has no order; Envoy prints sorted keys.
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self::Object(fields))
    }

    fn compile(value: &protobuf::Value) -> ConfigResult<Self> {
        use protobuf::value::Kind;
        Ok(match &value.kind {
            None | Some(Kind::NullValue(_)) => Self::Fixed(serde_json::Value::Null),
            Some(Kind::BoolValue(value)) => Self::Fixed((*value).into()),
            Some(Kind::NumberValue(value)) => Self::Fixed((*value).into()),
            Some(Kind::StringValue(text)) => Self::Format(Format::parse(text)?),
            Some(Kind::StructValue(object)) => Self::compile_object(object)?,
            Some(Kind::ListValue(list)) => Self::List(
                list.values
                    .iter()
                    .map(Self::compile)
                    .collect::<ConfigResult<Vec<_>>>()?,
            ),
        })
    }

    fn render(&self, log_fields: &LogFields<'_>) -> serde_json::Value {
        match self {
            Self::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), value.render(log_fields)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Self::List(values) => values
                .iter()
                .map(|value| value.render(log_fields))
                .collect(),
            Self::Format(format) => format.json(log_fields),
            Self::Fixed(value) => value.clone(),
        }
    }
}
