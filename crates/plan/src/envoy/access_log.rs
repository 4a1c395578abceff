//! Translates access logs.

use super::protobuf::pack;
use crate::plan::{AccessLog, LogFormat};
use prost::{Message, Name};
use std::collections::BTreeMap;
use tombolo_xds::envoy::pb::{
    envoy::{
        config::{
            accesslog::v3::{self as accesslog, access_log::ConfigType},
            core::v3::{
                DataSource, SubstitutionFormatString, data_source::Specifier,
                substitution_format_string::Format,
            },
        },
        extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
    },
    google::protobuf::{Any, Value, value::Kind},
};

pub(super) fn logs(log: Option<&AccessLog>) -> Vec<accesslog::AccessLog> {
    let Some(log) = log else { return Vec::new() };
    let config = match &log.format {
        None => pack(&file(log, None)),
        // Envoy's default format ends its lines; a given one must do so itself.
        Some(LogFormat::Text(line)) if line.ends_with('\n') => pack(&file(log, Some(line.clone()))),
        Some(LogFormat::Text(line)) => pack(&file(log, Some(format!("{line}\n")))),
        Some(LogFormat::Json(members)) => {
            let mut value = file(log, None).encode_to_vec();
            value.extend(JsonLog::new(members).encode_to_vec());
            Any {
                type_url: FileAccessLog::type_url(),
                value,
            }
        }
    };
    vec![accesslog::AccessLog {
        name: "envoy.access_loggers.file".into(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..Default::default()
    }]
}

fn file(log: &AccessLog, line: Option<String>) -> FileAccessLog {
    let format = line.map(|line| {
        let specifier = Some(Specifier::InlineString(line));
        let text = Format::TextFormatSource(DataSource {
            specifier,
            ..Default::default()
        });
        AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(text),
            ..Default::default()
        })
    });
    FileAccessLog {
        path: log.path.clone(),
        access_log_format: format,
    }
}

// The generated types keep the members of the JSON format in a hash map, whose encoded order is random. These types
// have the same field numbers and a stable order.

/// The format of a `FileAccessLog`.
#[derive(Clone, PartialEq, prost::Message)]
struct JsonLog {
    #[prost(message, optional, tag = "5")]
    log_format: Option<JsonFormat>,
}

/// The JSON format of a `SubstitutionFormatString`.
#[derive(Clone, PartialEq, prost::Message)]
struct JsonFormat {
    #[prost(message, optional, tag = "2")]
    json_format: Option<Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Value>,
}

impl JsonLog {
    fn new(members: &[(String, String)]) -> Self {
        let members = members.iter().map(|(key, value)| {
            let kind = Some(Kind::StringValue(value.clone()));
            (key.clone(), Value { kind })
        });
        let fields = members.collect();
        let json_format = Some(Struct { fields });
        Self {
            log_format: Some(JsonFormat { json_format }),
        }
    }
}
