//! `AssumeRoleWithWebIdentity`: keys for the bearer of a token, such as a pod with its service account's.

use crate::{
    access::{
        Credentials, Issued, SessionKeys, TrustMatch, provider, session_arn, session_user_id,
    },
    error::ApiError,
    oidc::{Token, TokenError, VerifyError},
    wire::{percent, xml},
};
use http::StatusCode;
use tombolo_telemetry::RequestId;

/// Seconds that the keys are good for, unless the caller asks for less.
const DURATION: u64 = 3600;
/// The least that may be asked for.
const MIN_DURATION: u64 = 900;
const NOT_AUTHORIZED: &str = "Not authorized to perform sts:AssumeRoleWithWebIdentity";

/// The input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AssumeRoleWithWebIdentity {
    account: String,
    role: String,
    session: String,
    token: WebIdentityToken,
    /// Seconds.
    duration: u64,
}

/// A token, which is never shown.
#[derive(PartialEq, Eq)]
struct WebIdentityToken(String);

impl std::fmt::Debug for WebIdentityToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebIdentityToken(…)")
    }
}

/// What is answered.
struct Answer {
    provider: String,
    subject: String,
    audience: String,
    issued: Issued,
    expires: u64,
}

impl AssumeRoleWithWebIdentity {
    /// Reads the parameters of the form.
    pub(super) fn read(form: &str) -> Result<Self, ApiError> {
        let value = |name: &str| percent::query_value(form, name);
        let text = |name: &str, member: &str| {
            value(name)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| invalid("null", member, "Member must not be null"))
        };
        for name in ["Policy", "PolicyArns.member.1.arn", "ProviderId"] {
            if value(name).is_some() {
                let why = format!("the parameter {name} is not supported here");
                return Err(ApiError::bad_request("ValidationError", why));
            }
        }
        let arn = text("RoleArn", "roleArn")?;
        let (account, role) = parse_role(&arn)
            .ok_or_else(|| ApiError::bad_request("ValidationError", format!("{arn} is invalid")))?;
        let session = text("RoleSessionName", "roleSessionName")?.into_owned();
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(is_legal) {
            let why = r"Member must satisfy regular expression pattern: [\w+=,.@-]*, with 2 to 64 characters";
            return Err(invalid(&session, "roleSessionName", why));
        }
        let duration = match value("DurationSeconds") {
            None => DURATION,
            Some(text) => match text.parse::<u64>() {
                Ok(seconds) if (MIN_DURATION..=DURATION).contains(&seconds) => seconds,
                Ok(seconds) if seconds > DURATION => {
                    let why = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
                    return Err(ApiError::bad_request("ValidationError", why));
                }
                _ => {
                    let why = "Member must have value greater than or equal to 900";
                    return Err(invalid(&text, "durationSeconds", why));
                }
            },
        };
        Ok(Self {
            account: account.to_owned(),
            role: role.to_owned(),
            session,
            token: WebIdentityToken(text("WebIdentityToken", "webIdentityToken")?.into_owned()),
            duration,
        })
    }

    /// Makes keys, if the token is good for the role; answers with the XML. Without credentials every token is
    /// (development mode). `now` is in seconds since 1970.
    pub(super) async fn execute(
        self,
        credentials: Option<&Credentials>,
        sessions: &SessionKeys,
        now: u64,
        request_id: &RequestId,
    ) -> Result<String, ApiError> {
        let (provider, subject, audience) = match credentials {
            Some(credentials) => self.check(credentials, now).await?,
            // Any words of the length that the model of STS demands.
            None => (
                "development".into(),
                "development".into(),
                "development".into(),
            ),
        };
        let expires = now + self.duration;
        let issued = sessions.issue(&self.account, &self.role, &self.session, expires);
        let (account, role, access_key) = (&self.account, &self.role, &issued.access_key);
        tracing::info!(%request_id, account, role, subject, access_key, "a role was assumed");
        let answer = Answer {
            provider,
            subject,
            audience,
            issued,
            expires,
        };
        Ok(self.document(&answer, request_id))
    }

    /// Who issued the token, to whom, and for whom.
    async fn check(
        &self,
        credentials: &Credentials,
        now: u64,
    ) -> Result<(String, String, String), ApiError> {
        let token = Token::read(&self.token.0).map_err(|error| refusal(error.into()))?;
        let claims = token.claims();
        let known = credentials.key_store();
        let Some(provider) = provider(known.providers(), &claims.issuer) else {
            let issuer = claims.issuer.chars().take(200).collect::<String>();
            let why = format!("No OpenIDConnect provider found in your account for {issuer}");
            return Err(ApiError::bad_request("InvalidIdentityToken", why));
        };
        let verified = credentials.issuers().verify(provider, &token).await;
        verified.map_err(refusal)?;
        token
            .check_time(now)
            .map_err(|error| refusal(error.into()))?;
        let fit = known
            .role(&self.account, &self.role)
            .map_or(TrustMatch::None, |role| {
                role.matches(claims, |trusted, given| trusted == given)
            });
        match fit {
            TrustMatch::Full => Ok((
                claims.issuer.clone(),
                claims.subject.clone(),
                claims
                    .audiences
                    .iter()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            )),
            TrustMatch::OtherAudience => Err(ApiError::bad_request(
                "InvalidIdentityToken",
                "Incorrect token audience",
            )),
            TrustMatch::None => {
                let (subject, role) = (&claims.subject, &self.role);
                tracing::info!(subject, role, "a token is not trusted by the role");
                Err(ApiError::new(
                    StatusCode::FORBIDDEN,
                    "AccessDenied",
                    NOT_AUTHORIZED,
                ))
            }
        }
    }

    fn document(&self, answer: &Answer, request_id: &RequestId) -> String {
        let arn = session_arn(&self.account, &self.role, &self.session);
        let id = session_user_id(&self.account, &self.role, &self.session);
        let expires = i64::try_from(answer.expires).unwrap_or(i64::MAX);
        let expires = jiff::Timestamp::from_second(expires).unwrap_or(jiff::Timestamp::MAX);
        let escape = xml::escape;
        let (subject, audience) = (escape(&answer.subject), escape(&answer.audience));
        let provider = escape(&answer.provider);
        let Issued {
            access_key,
            secret,
            token,
        } = &answer.issued;
        let (secret, namespace) = (secret.expose(), xml::NAMESPACE);
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"{namespace}\"><AssumeRoleWithWebIdentityResult>\
             <Audience>{audience}</Audience><AssumedRoleUser><AssumedRoleId>{id}</AssumedRoleId>\
             <Arn>{arn}</Arn></AssumedRoleUser><Provider>{provider}</Provider><Credentials>\
             <AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration></Credentials>\
             <SubjectFromWebIdentityToken>{subject}</SubjectFromWebIdentityToken>\
             </AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>{request_id}</RequestId>\
             </ResponseMetadata></AssumeRoleWithWebIdentityResponse>"
        )
    }
}

/// Account and name in `arn:aws:iam::111122223333:role/NAME`, of any partition.
fn parse_role(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.strip_prefix("arn:")?.splitn(5, ':');
    let (partition, service) = (parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let name = resource.strip_prefix("role/")?;
    let is_role = partition.starts_with("aws") && service == "iam" && region.is_empty();
    let is_name = |name: &str| {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c);
        (1..=128).contains(&name.len()) && name.chars().all(is_legal)
    };
    (is_account && is_role && is_name(name)).then_some((account, name))
}

fn invalid(value: &str, member: &str, why: &str) -> ApiError {
    ApiError::bad_request(
        "ValidationError",
        format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {why}"
        ),
    )
}

fn refusal(error: VerifyError) -> ApiError {
    let code = match &error {
        VerifyError::NoKeys => "IDPCommunicationError",
        VerifyError::Token(TokenError::Expired { .. }) => "ExpiredTokenException",
        VerifyError::Token(_) => "InvalidIdentityToken",
    };
    ApiError::bad_request(code, error.to_string())
}

#[cfg(test)]
mod tests;
