//! Signing of requests with the caller's keys.

use super::Error;
use crate::{
    service::OPERATOR_SERVICE,
    sigv4::{Secret, Signer, authorize, sha256},
};
use http::{HeaderValue, Request};
use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

/// An access key and its secret. The secret is never shown.
#[derive(Clone, Debug)]
pub struct Keys {
    access_key: String,
    secret: Secret,
    token: Option<Secret>,
}

/// The key and secret without configured ones; only a server in development mode accepts them.
const DEVELOPMENT: &str = "development";

impl Keys {
    /// An access key of this id.
    pub fn new(access_key: &str, secret: &str, session_token: Option<&str>) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret: Secret::new(secret),
            token: session_token.map(Secret::new),
        }
    }

    /// The key in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, as in all AWS
    /// clients; without them, one that only a server in development mode accepts.
    pub fn from_environment() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        match (
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
        ) {
            (Some(id), Some(secret)) => {
                Self::new(&id, &secret, variable("AWS_SESSION_TOKEN").as_deref())
            }
            _ => Self::new(DEVELOPMENT, DEVELOPMENT, None),
        }
    }

    /// Signs a request of the operator API. It must have the header `Host`; `body` is the body to send.
    ///
    /// # Errors
    /// [`Error::Credentials`] if a key is not valid in a header.
    pub fn sign_operator<B>(
        &self,
        region: &str,
        request: &mut Request<B>,
        body: &[u8],
    ) -> Result<(), Error> {
        self.sign(region, OPERATOR_SERVICE, request, body)
    }

    /// Signs a request. The hash of the body is in a header, so that the server can authenticate the caller before it
    /// reads the body.
    pub(super) fn sign<B>(
        &self,
        region: &str,
        service: &str,
        request: &mut Request<B>,
        body: &[u8],
    ) -> Result<(), Error> {
        let hash = HeaderValue::from_str(&sha256(body)).expect("digits are text");
        request.headers_mut().insert("x-amz-content-sha256", hash);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let signer = Signer {
            access_key: &self.access_key,
            secret: &self.secret,
            token: self.token.as_ref().map(Secret::expose),
            region,
            service,
            now: now.map_or(0, |since| since.as_secs()),
        };
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let signed = authorize(&signer, &method, &uri, request.headers_mut(), body);
        signed.map_err(|error| Error::Credentials(error.to_string()))
    }
}
