//! Access logs of proxies.

use super::references::{Names, References, Union, union};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// Where a proxy writes its access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct Logging<R: References = Names> {
    /// Where requests are logged; absent means nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<R::Union<AccessLog<R>>>,
}

impl<R: References> Validate for Logging<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("accessLog", &self.access_log);
    }
}

/// An access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub enum AccessLog<R: References = Names> {
    /// Written to a file.
    File(FileAccessLog<R>),
}

union!(AccessLog<R> { File: "file" });

/// An access log in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct FileAccessLog<R: References = Names> {
    /// For example `/dev/stdout`; 1 to 255 characters.
    pub path: String,
    /// Absent means Envoy's default format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<R::Union<LoggingFormat>>,
}

impl<R: References> Validate for FileAccessLog<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.length("path", &self.path, 1, 255);
        validator.field("format", &self.format);
    }
}

/// The format of a log line, in Envoy's operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoggingFormat {
    /// Members of a JSON object.
    Json(Vec<JsonFormatMember>),
    /// A line of text, 1 to 1000 characters.
    Text(String),
}

impl Union for LoggingFormat {
    const MEMBERS: &'static [&'static str] = &["text", "json"];

    fn member(&self) -> &'static str {
        match self {
            LoggingFormat::Json(_) => "json",
            LoggingFormat::Text(_) => "text",
        }
    }
}

impl Validate for LoggingFormat {
    fn validate(&self, validator: &mut Validator) {
        match self {
            LoggingFormat::Json(members) => validator.field("json", members),
            LoggingFormat::Text(line) => validator.length("text", line, 1, 1000),
        }
    }
}

/// One member of a JSON log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFormatMember {
    /// 1 to 100 characters.
    pub key: String,
    /// 1 to 100 characters.
    pub value: String,
}

impl Validate for JsonFormatMember {
    fn validate(&self, validator: &mut Validator) {
        validator.length("key", &self.key, 1, 100);
        validator.length("value", &self.value, 1, 100);
    }
}
