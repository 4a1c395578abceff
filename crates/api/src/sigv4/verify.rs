//! Verifies a request in two steps: first the head without the signature, then the signature.

use super::{
    AuthError, Claim, Secret, canonical,
    claim::{incomplete, only},
    date,
    hash::is_equal,
    payload::{self, Payload},
    sign::{SigningKey, string_to_sign},
};
use bytes::Bytes;
use http::{header, request::Parts};

/// The allowed difference between the caller's clock and ours, in minutes. AWS allows 5 or 15.
const SKEW_MINUTES: u64 = 15;
/// The maximum lifetime of a presigned request in seconds: a week.
const MAX_EXPIRES: u64 = 604_800;

/// A claim that is consistent with its request and the time; only the signature itself is not verified yet.
#[derive(Debug)]
pub(crate) struct Candidate {
    claim: Claim,
    timestamp: String,
    payload: Payload,
}

impl Claim {
    /// Checks the head of a request. `now` is in seconds since 1970.
    pub(crate) fn check(
        self,
        request: &Parts,
        service: &str,
        now: u64,
    ) -> Result<Candidate, AuthError> {
        if self.service != service {
            let why = format!("Credential should be scoped to correct service: '{service}'. ");
            return Err(AuthError::Invalid(why));
        }
        self.check_signed_headers(request)?;
        let (timestamp, at) = self.timestamp(request)?;
        if self.date != timestamp[..8] {
            return Err(AuthError::Invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{}', from '{timestamp}'.",
                self.date,
                &timestamp[..8]
            )));
        }
        self.check_time(request, &timestamp, at, now)?;
        let declared = self.parameter(request, "X-Amz-Content-Sha256")?;
        let payload = Payload::parse(declared.as_deref())?;
        Ok(Candidate {
            claim: self,
            timestamp,
            payload,
        })
    }

    /// Checks that `Host` and all `x-amz-` headers are signed, so that they cannot be added in transit. Each must be
    /// listed once, in order: otherwise repeated names would make the canonical request very large.
    fn check_signed_headers(&self, request: &Parts) -> Result<(), AuthError> {
        let is_in_order = self.signed_headers.split(';').is_sorted_by(|a, b| a < b);
        if !is_in_order || self.signed_headers.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(incomplete(
                "SignedHeaders must name each header once, in lower case and alphabetical order.",
            ));
        }
        let is_signed = |name: &str| self.signed_headers.split(';').any(|signed| signed == name);
        only(&request.headers, header::HOST.as_str())?;
        if !is_signed("host") {
            return Err(AuthError::Invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into(),
            ));
        }
        let mut names = request.headers.keys().map(|name| name.as_str());
        match names.find(|name| name.starts_with("x-amz-") && !is_signed(name)) {
            None => Ok(()),
            Some(name) => Err(AuthError::Invalid(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ))),
        }
    }

    /// The time of the signature, as text and in seconds since 1970: `X-Amz-Date`, or else the header `Date`.
    fn timestamp(&self, request: &Parts) -> Result<(String, u64), AuthError> {
        let missing = || {
            incomplete(
                "A request needs a date: 'X-Amz-Date', or a 'Date' header beside the signature.",
            )
        };
        if let Some(text) = self.parameter(request, "X-Amz-Date")? {
            let at = date::parse_basic(&text).ok_or_else(|| {
                incomplete(format!(
                    "Date must be in ISO-8601 'basic format'. Got '{text}'."
                ))
            })?;
            return Ok((text.into_owned(), at));
        }
        if self.is_presigned {
            return Err(missing());
        }
        let text = only(&request.headers, header::DATE.as_str())?.ok_or_else(missing)?;
        let at = date::parse_basic(text).or_else(|| {
            let at = httpdate::parse_http_date(text).ok()?;
            Some(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
        });
        let at = at.ok_or_else(missing)?;
        Ok((date::basic(at), at))
    }

    fn check_time(
        &self,
        request: &Parts,
        timestamp: &str,
        at: u64,
        now: u64,
    ) -> Result<(), AuthError> {
        let skew = SKEW_MINUTES * 60;
        if at > now + skew {
            return Err(AuthError::Invalid(format!(
                "Signature not yet current: {timestamp} is still later than {} ({} + {SKEW_MINUTES} min.)",
                date::basic(now + skew),
                date::basic(now)
            )));
        }
        if self.is_presigned {
            let life = self.parameter(request, "X-Amz-Expires")?;
            let life = life.and_then(|life| life.parse::<u64>().ok());
            return match life.filter(|life| (1..=MAX_EXPIRES).contains(life)) {
                None => Err(incomplete(format!(
                    "X-Amz-Expires must be a number of seconds between 1 and {MAX_EXPIRES}."
                ))),
                Some(life) if at + life < now => Err(AuthError::Expired),
                Some(_) => Ok(()),
            };
        }
        let oldest = now.saturating_sub(skew);
        if at < oldest {
            return Err(AuthError::Invalid(format!(
                "Signature expired: {timestamp} is now earlier than {} ({} - {SKEW_MINUTES} min.)",
                date::basic(oldest),
                date::basic(now)
            )));
        }
        Ok(())
    }
}

impl Candidate {
    /// Whether the request has `X-Amz-Content-Sha256`, so that its signature can be verified before the body is read.
    pub(crate) fn declares_payload(&self) -> bool {
        self.payload != Payload::Undeclared
    }

    /// Verifies the signature of a request that declares its payload.
    pub(crate) fn verify_head(&self, request: &Parts, secret: &Secret) -> Result<(), AuthError> {
        self.verify_signature(request, &[], secret).map(drop)
    }

    /// Verifies the signature and the body; returns the body without chunk framing.
    pub(crate) fn verify(
        &self,
        request: &Parts,
        body: Bytes,
        secret: &Secret,
    ) -> Result<Bytes, AuthError> {
        let key = self.verify_signature(request, &body, secret)?;
        let chain = payload::Chain {
            key: &key,
            timestamp: &self.timestamp,
            scope: &self.claim.scope(),
            previous: self.claim.signature.to_ascii_lowercase(),
        };
        let decoded_length = only(&request.headers, "x-amz-decoded-content-length")?;
        self.payload.verify_body(body, chain, decoded_length)
    }

    fn verify_signature(
        &self,
        request: &Parts,
        body: &[u8],
        secret: &Secret,
    ) -> Result<SigningKey, AuthError> {
        let claim = &self.claim;
        let canonical = canonical::request(
            &request.method,
            &request.uri,
            &request.headers,
            &claim.signed_headers,
            &self.payload.hash(body),
        )?;
        let to_sign = string_to_sign(&self.timestamp, &claim.scope(), &canonical);
        let key = secret.derive(&claim.date, &claim.region, &claim.service);
        if !is_equal(&key.sign(&to_sign), &claim.signature.to_ascii_lowercase()) {
            return Err(AuthError::mismatch(&canonical, &to_sign));
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests;
