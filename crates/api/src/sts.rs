//! STS: `GetCallerIdentity`, which most deployment scripts call first (facts/aws-wire.md §6), and
//! `AssumeRoleWithWebIdentity`.

mod web_identity;

use crate::{
    access::{Credentials, SessionKeys},
    call::Call,
    error::ApiError,
    server::now,
    wire::{
        percent,
        xml::{NAMESPACE, escape},
    },
};
use http::request::Parts;
use std::borrow::Cow;
use web_identity::AssumeRoleWithWebIdentity;

/// The implemented operations of STS.
#[derive(Debug)]
pub(crate) enum Operation {
    GetCallerIdentity,
    AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentity),
}

const GET_CALLER_IDENTITY: &str = "GetCallerIdentity";
const ASSUME_ROLE_WITH_WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// The form of the call that asks who the caller is.
pub(crate) const CALLER_IDENTITY_FORM: &str = "Action=GetCallerIdentity&Version=2011-06-15";

impl Operation {
    /// The names of all operations.
    pub(crate) const NAMES: &'static [&'static str] =
        &[ASSUME_ROLE_WITH_WEB_IDENTITY, GET_CALLER_IDENTITY];

    /// Parses the parameters, which are in the form, or in the query if the call is presigned.
    pub(crate) fn read(request: &Parts, body: &[u8]) -> Result<Self, ApiError> {
        let (query, form) = (request.uri.query().unwrap_or_default(), form(body)?);
        match action(query, form).as_deref() {
            Some(GET_CALLER_IDENTITY) => Ok(Self::GetCallerIdentity),
            Some(ASSUME_ROLE_WITH_WEB_IDENTITY) => {
                let form = if form.is_empty() { query } else { form };
                AssumeRoleWithWebIdentity::read(form).map(Self::AssumeRoleWithWebIdentity)
            }
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

    /// Whether a request asks for what callers without keys may ask for.
    pub(crate) fn is_unsigned(request: &Parts, body: &[u8]) -> bool {
        let query = request.uri.query().unwrap_or_default();
        let asked = form(body).map(|form| action(query, form));
        asked.is_ok_and(|asked| asked.as_deref() == Some(ASSUME_ROLE_WITH_WEB_IDENTITY))
    }

    /// The name, as in policies.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::GetCallerIdentity => GET_CALLER_IDENTITY,
            Self::AssumeRoleWithWebIdentity(_) => ASSUME_ROLE_WITH_WEB_IDENTITY,
        }
    }

    /// The XML of the answer.
    pub(crate) async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let answer = match self {
            Self::GetCallerIdentity => caller_identity(call),
            Self::AssumeRoleWithWebIdentity(input) => {
                let Issuer {
                    credentials,
                    sessions,
                } = call.issuer;
                let done = input.execute(credentials, sessions, now(), call.request_id);
                done.await?
            }
        };
        Ok(answer.into_bytes())
    }
}

/// What makes keys for callers.
#[derive(Clone, Copy)]
pub(crate) struct Issuer<'a> {
    /// Whom to make keys for; everybody in development mode.
    pub(crate) credentials: Option<&'a Credentials>,
    pub(crate) sessions: &'a SessionKeys,
}

fn form(body: &[u8]) -> Result<&str, ApiError> {
    std::str::from_utf8(body)
        .map_err(|_| ApiError::bad_request("MalformedQueryString", "the form is not text (UTF-8)"))
}

fn action<'a>(query: &'a str, form: &'a str) -> Option<Cow<'a, str>> {
    let asked = percent::query_value(query, "Action");
    asked.or_else(|| percent::query_value(form, "Action"))
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
