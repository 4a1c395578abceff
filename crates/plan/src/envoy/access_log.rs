//! Access logs.

use super::protobuf::pack;
use crate::plan::{AccessLog, LogFormat};
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
    google::protobuf::{Struct, Value, value::Kind},
};

pub(super) fn logs(log: Option<&AccessLog>) -> Vec<accesslog::AccessLog> {
    let Some(log) = log else { return Vec::new() };
    let format = log.format.as_ref().map(|format| {
        let format = match format {
            // Envoy's default format ends its lines; a given one must do so itself.
            LogFormat::Text(line) if line.ends_with('\n') => text(line.clone()),
            LogFormat::Text(line) => text(format!("{line}\n")),
            LogFormat::Json(members) => Format::JsonFormat(Struct {
                fields: members
                    .iter()
                    .map(|(key, value)| {
                        let kind = Some(Kind::StringValue(value.clone()));
                        (key.clone(), Value { kind })
                    })
                    .collect(),
            }),
        };
        AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(format),
            ..Default::default()
        })
    });
    let file = FileAccessLog {
        path: log.path.clone(),
        access_log_format: format,
    };
    vec![accesslog::AccessLog {
        name: "envoy.access_loggers.file".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&file))),
        ..Default::default()
    }]
}

fn text(line: String) -> Format {
    let specifier = Some(Specifier::InlineString(line));
    Format::TextFormatSource(DataSource {
        specifier,
        ..Default::default()
    })
}
