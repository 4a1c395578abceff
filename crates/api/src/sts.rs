//! STS: `GetCallerIdentity`, which most deployment scripts call first (facts/aws-wire.md §6).

use crate::{
    call::Call,
    error::ApiError,
    wire::{
        percent,
        xml::{NAMESPACE, escape},
    },
};
use http::request::Parts;

/// The implemented operations of STS.
#[derive(Debug)]
pub(crate) enum Operation {
    GetCallerIdentity,
}

impl Operation {
    /// The names of all operations.
    pub(crate) const NAMES: &'static [&'static str] = &["GetCallerIdentity"];

    /// Parses the parameters, which are in the form, or in the query if the call is presigned.
    pub(crate) fn read(request: &Parts, body: &[u8]) -> Result<Self, ApiError> {
        let form = std::str::from_utf8(body).map_err(|_| {
            ApiError::bad_request("MalformedQueryString", "the form is not text (UTF-8)")
        })?;
        let query = request.uri.query().unwrap_or_default();
        let action =
            percent::query_value(query, "Action").or_else(|| percent::query_value(form, "Action"));
        match action.as_deref() {
            Some("GetCallerIdentity") => Ok(Self::GetCallerIdentity),
            Some(other) => Err(ApiError::bad_request(
                "InvalidAction",
                format!("Could not find operation {other} for version 2011-06-15"),
            )),
            None => Err(ApiError::bad_request(
                "MissingAction",
                "the parameter Action is missing",
            )),
        }
    }

    /// The form of the call.
    pub(crate) fn form(&self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "Action=GetCallerIdentity&Version=2011-06-15",
        }
    }

    /// The XML of the answer.
    pub(crate) fn execute(self, call: &Call<'_>) -> Vec<u8> {
        match self {
            Self::GetCallerIdentity => caller_identity(call).into_bytes(),
        }
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

/// The account in the XML of `GetCallerIdentity`.
pub(crate) fn account(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("<Account>")?;
    let (account, _) = rest.split_once("</Account>")?;
    Some(account)
}
