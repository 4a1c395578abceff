//! Access logs of proxies.

use super::declare::{spec, union};
use crate::validation::{Validate, Validator};

spec! {
    /// The logging of a proxy.
    pub struct Logging<R>: Validate {
        /// The access log; absent means that requests are not logged.
        access_log: Option<R::Union<AccessLog<R>>>,
    }
}

union! {
    /// An access log.
    pub enum AccessLog<R>: Validate {
        /// Written to a file.
        File(FileAccessLog<R>) as "file",
    }
}

spec! {
    /// An access log in a file.
    pub struct FileAccessLog<R>: Validate {
        /// For example `/dev/stdout`; 1 to 255 characters.
        path: String [1..=255],
        /// Absent means Envoy's default format.
        format: Option<R::Union<LoggingFormat>>,
    }
}

union! {
    /// The format of a log line, in Envoy's command operators.
    pub enum LoggingFormat {
        /// A line of text, 1 to 1000 characters.
        Text(String) as "text",
        /// Members of a JSON object.
        Json(Vec<JsonFormatMember>) as "json",
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

spec! {
    /// One member of a JSON log line.
    pub struct JsonFormatMember: Validate {
        /// 1 to 100 characters.
        key: String [1..=100],
        /// 1 to 100 characters.
        value: String [1..=100],
    }
}
