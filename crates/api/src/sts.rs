//! STS: who am I? Every deployment script asks it first (facts/aws-wire.md §6).

use crate::wire::{Call, Failure, percent};
use std::fmt::Write;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The parameters are in the form body, or in the query when the call is presigned.
pub(crate) fn answer(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let form = std::str::from_utf8(&call.body)
        .map_err(|_| Failure::bad("MalformedQueryString", "the form is not text"))?;
    let action = percent::query_value(call.query(), "Action")
        .or_else(|| percent::query_value(form, "Action"));
    match action.as_deref() {
        Some("GetCallerIdentity") => Ok(caller_identity(call).into_bytes()),
        Some(other) => Err(Failure::bad(
            "InvalidAction",
            format!("Could not find operation {other} for version 2011-06-15"),
        )),
        None => Err(Failure::bad(
            "MissingAction",
            "the parameter Action is missing",
        )),
    }
}

fn caller_identity(call: &Call<'_>) -> String {
    let account = &call.scope.account;
    let (arn, user_id) = match &call.user {
        Some(user) => (escape(&user.arn), escape(&user.id)),
        None => (
            format!("arn:aws:iam::{account}:user/tombolo"),
            escape(call.access_key.as_deref().unwrap_or("ANONYMOUS")),
        ),
    };
    let request_id = call.request_id;
    format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult>\
         <Arn>{arn}</Arn><UserId>{user_id}</UserId>\
         <Account>{account}</Account></GetCallerIdentityResult><ResponseMetadata>\
         <RequestId>{request_id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
}

/// The envelope of a failure in the query protocol.
pub(crate) fn error_document(failure: &Failure, request_id: &str) -> String {
    let kind = if failure.status.is_server_error() {
        "Receiver"
    } else {
        "Sender"
    };
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{}</Code>\
         <Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        failure.code,
        escape(&failure.message)
    )
}

/// Text inside an XML element. Control characters other than white space have no spelling in XML 1.0.
fn escape(text: &str) -> String {
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
