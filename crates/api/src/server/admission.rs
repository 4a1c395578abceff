//! Authentication of callers by the signature of their requests.

use super::Server;
use crate::{
    access::User,
    service::Service,
    sigv4::{AuthError, Candidate, Claim, Secret, has_normal_path},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request::Parts, uri::Authority};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tombolo_model::Scope;

/// A caller whose request head was accepted, and who may send a body.
pub(super) struct Admission {
    pub(super) scope: Scope,
    pub(super) access_key: Option<String>,
    /// Absent in development mode.
    verified: Option<Verified>,
}

struct Verified {
    user: Arc<User>,
    secret: Secret,
    candidate: Candidate,
}

impl Server {
    /// Authenticates the head of a request for a service. In development mode every caller is admitted.
    pub(super) fn admit(&self, service: &str, request: &Parts) -> Result<Admission, AuthError> {
        let claim = Claim::read(request)?;
        let Some(credentials) = &self.credentials else {
            return self.admit_unverified(service, claim);
        };
        let claim = claim.ok_or(AuthError::Missing)?;
        let now = now();
        let token = claim.token(request)?;
        let keys = credentials.key_store();
        let found = keys.find(&self.sessions, &claim.access_key, token.as_deref(), now);
        let (user, secret) = found?;
        keys.check_region(service, &claim.region)?;
        let scope = Scope::parse(&user.account, &claim.region)
            .map_err(|error| AuthError::Incomplete(error.to_string()))?;
        let access_key = Some(claim.access_key.clone());
        let candidate = claim.check(request, service, now)?;
        if !has_normal_path(&request.uri) {
            return Err(AuthError::Incomplete(
                "A signed path must not have empty segments, '.' or '..'.".into(),
            ));
        }
        if candidate.declares_payload() {
            candidate.verify_head(request, &secret)?;
        }
        Ok(Admission {
            scope,
            access_key,
            verified: Some(Verified {
                user,
                secret,
                candidate,
            }),
        })
    }

    /// A caller of STS without a signature: it may have a token instead, which is in the body.
    pub(super) fn admit_anonymous(&self, service: Service, request: &Parts) -> Option<Admission> {
        let is_signed = !matches!(Claim::read(request), Ok(None));
        (service == Service::Sts && self.credentials.is_some() && !is_signed).then(|| Admission {
            scope: self.default_scope.clone(),
            access_key: None,
            verified: None,
        })
    }

    /// Admits a caller in development mode: only the region and the service of the signature are used.
    fn admit_unverified(
        &self,
        service: &str,
        claim: Option<Claim>,
    ) -> Result<Admission, AuthError> {
        let scope = match &claim {
            Some(claim) if claim.service != service => {
                let why = format!("Credential should be scoped to correct service: '{service}'. ");
                return Err(AuthError::Invalid(why));
            }
            Some(claim) if claim.region != *self.default_scope.region => {
                Scope::parse(&self.config.account, &claim.region)
                    .map_err(|error| AuthError::Incomplete(error.to_string()))?
            }
            _ => self.default_scope.clone(),
        };
        Ok(Admission {
            scope,
            access_key: claim.map(|claim| claim.access_key),
            verified: None,
        })
    }
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// The origin of a request that a browser sent for a web page of another site: such pages must not call a
/// server without credentials that runs on the same machine. A host name does not prove that the page is this
/// server's, because it may resolve to this server's address (DNS rebinding).
pub(super) fn foreign_origin(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let Some(origin) = headers.get(header::ORIGIN) else {
        // Browsers send no `Origin` with same-origin reads, but always `Accept-Language`.
        let is_browser = headers.contains_key(header::ACCEPT_LANGUAGE);
        let host = String::from_utf8_lossy(host.filter(|_| is_browser)?);
        return (!is_own_name(&host)).then(|| host.into_owned());
    };
    let text = String::from_utf8_lossy(origin.as_bytes());
    let page = text.split_once("://").map(|(_, page)| page);
    let is_own = page.is_some_and(|page| Some(page.as_bytes()) == host && is_own_name(page));
    (!is_own).then(|| text.into_owned())
}

/// Whether the host of an authority is an address or `localhost`.
fn is_own_name(authority: &str) -> bool {
    authority.parse::<Authority>().is_ok_and(|authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name == "localhost" || name.parse::<IpAddr>().is_ok()
    })
}

impl Admission {
    /// Whether the signature was already verified, by the head alone.
    pub(super) fn is_confirmed(&self) -> bool {
        let verified = self.verified.as_ref();
        verified.is_some_and(|verified| verified.candidate.declares_payload())
    }

    /// Verifies the signature with the body; returns the decoded body.
    pub(super) fn confirm(&self, request: &Parts, body: Bytes) -> Result<Bytes, AuthError> {
        match &self.verified {
            Some(verified) => verified.candidate.verify(request, body, &verified.secret),
            None => Ok(body),
        }
    }

    /// The verified caller; `None` in development mode.
    pub(super) fn user(&self) -> Option<&Arc<User>> {
        self.verified.as_ref().map(|verified| &verified.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_foreign() {
        let origin = |origin: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header"));
            headers.insert(header::ORIGIN, origin.parse().expect("a header"));
            foreign_origin(&headers).is_some()
        };
        let host = "127.0.0.1:8490";
        for (page, host, is_foreign) in [
            ("http://127.0.0.1:8490", host, false),
            ("http://localhost:8490", "localhost:8490", false),
            ("http://[::1]:8490", "[::1]:8490", false),
            ("http://127.0.0.1:3000", host, true),
            ("http://evil.example", host, true),
            ("http://evil.example:8490", "evil.example:8490", true),
            ("null", host, true),
            ("", host, true),
        ] {
            assert_eq!(origin(page, host), is_foreign, "{page:?} at {host}");
        }
        assert_eq!(foreign_origin(&HeaderMap::new()), None);
    }

    /// Same-origin reads carry no `Origin`, and the page's host name may resolve to this server.
    #[test]
    fn pages_of_names_that_lead_here_are_foreign() {
        let is_foreign = |host: &str, browser: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header"));
            if browser {
                headers.insert(header::ACCEPT_LANGUAGE, "en".parse().expect("a header"));
            }
            foreign_origin(&headers).is_some()
        };
        for (host, expected) in [
            ("127.0.0.1:8490", false),
            ("localhost:8490", false),
            ("[::1]:8490", false),
            ("evil.example:8490", true),
        ] {
            assert_eq!(is_foreign(host, true), expected, "{host}");
            assert!(!is_foreign(host, false), "{host}");
        }
    }
}
