//! The XML of the query protocol (facts/aws-wire.md §2, §6).

use crate::error::ApiError;
use std::fmt::Write;
use tombolo_telemetry::RequestId;

/// The XML namespace of STS.
pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The XML document of an error.
pub(super) fn error_document(error: &ApiError, request_id: &RequestId) -> String {
    let kind = if error.status.is_server_error() {
        "Receiver"
    } else {
        "Sender"
    };
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{}</Code>\
         <Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        error.code,
        escape(&error.message)
    )
}

/// Escapes text of an XML element. Control characters other than white space cannot be expressed in XML 1.0, so they
/// are written as `\u{…}`.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\t' | '\n' => escaped.push(character),
            c if c.is_control() => {
                write!(escaped, "\\u{{{:x}}}", u32::from(c)).expect("strings take everything");
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        assert_eq!(escape("<a>&\u{1}"), "&lt;a&gt;&amp;\\u{1}");
    }
}
