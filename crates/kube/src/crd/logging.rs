//! Access logs.

use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};

/// What a proxy logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// Where requests are logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// Where requests are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// Into a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileAccessLog>,
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAccessLog {
    /// 1 to 255 characters; `/dev/stdout` goes to the container's log.
    pub path: String,
    /// How a line looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LoggingFormat>,
}

/// How a log line looks: text or JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggingFormat {
    /// A line with Envoy's format operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The members of an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Vec<JsonField>>,
}

/// One member of a JSON log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonField {
    /// Name of the member.
    pub key: String,
    /// Its value, with Envoy's format operators.
    pub value: String,
}

impl Check for Logging {
    fn check(&self, checker: &mut Checker) {
        let Some(file) = self.access_log.as_ref().and_then(|log| log.file.as_ref()) else {
            return;
        };
        checker.within("accessLog", |checker| {
            checker.within("file", |checker| {
                checker.length("path", &file.path, 1, 255);
                let Some(format) = &file.format else { return };
                checker.within("format", |checker| {
                    checker.exactly_one(&[
                        ("text", format.text.is_some()),
                        ("json", format.json.is_some()),
                    ]);
                    checker.optional_length("text", format.text.as_ref(), 1, 1000);
                    checker.each(
                        "json",
                        format.json.as_deref().unwrap_or_default(),
                        |checker, field| {
                            checker.length("key", &field.key, 1, 100);
                            checker.length("value", &field.value, 1, 100);
                        },
                    );
                });
            });
        });
    }
}
