//! The part of the credentials file about OpenID Connect: issuers and roles.
//!
//! ```yaml
//! providers:
//!   - issuer: https://oidc.eks.us-west-2.amazonaws.com/id/EXAMPLE
//!     keys: /etc/tombolo/cluster1.jwks.json   # a file or URL; else ISSUER/.well-known/openid-configuration
//!     ca: /etc/tombolo/cluster1-ca.pem        # optional: authorities of its server
//!     token: /var/run/secrets/…/token         # optional: a bearer token for its server
//! roles:
//!   - name: appmesh-controller                # arn:aws:iam::111122223333:role/appmesh-controller
//!     account: "111122223333"
//!     policies: [AWSAppMeshFullAccess, AWSCloudMapFullAccess]
//!     trust:
//!       - issuer: https://oidc.eks.us-west-2.amazonaws.com/id/EXAMPLE
//!         subject: system:serviceaccount:appmesh-system:appmesh-controller   # a pattern
//!         audience: sts.amazonaws.com         # this one when absent
//! ```

use super::{Account, Problem, Result, StrictString, UserName};
use crate::{
    access::role::{Role, Trust},
    oidc::{KeySource, Provider, is_safe_url},
};
use serde::Deserialize;
use std::path::PathBuf;
use tombolo_model::FieldPath;

/// The audience of tokens that AWS clients send.
const STS_AUDIENCE: &str = "sts.amazonaws.com";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderEntry {
    issuer: Issuer,
    keys: Option<Keys>,
    ca: Option<StrictString>,
    token: Option<StrictString>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleEntry {
    name: UserName,
    account: Account,
    #[serde(default)]
    pub(super) policies: Vec<StrictString>,
    trust: Vec<TrustEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustEntry {
    issuer: StrictString,
    subject: Subject,
    audience: Option<StrictString>,
}

#[derive(Deserialize)]
#[serde(try_from = "StrictString")]
struct Issuer(String);

impl TryFrom<StrictString> for Issuer {
    type Error = String;

    fn try_from(StrictString(text): StrictString) -> Result<Self, String> {
        match is_safe_url(&text) {
            true => Ok(Self(text)),
            false => Err(format!("{text:?} is not an issuer: an https URL")),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "StrictString")]
struct Keys(KeySource);

impl TryFrom<StrictString> for Keys {
    type Error = String;

    fn try_from(StrictString(text): StrictString) -> Result<Self, String> {
        if !text.contains("://") {
            return Ok(Self(KeySource::File(PathBuf::from(text))));
        }
        match is_safe_url(&text) {
            true => Ok(Self(KeySource::Url(text))),
            false => Err(format!("{text:?} is neither a file nor an https URL")),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "StrictString")]
struct Subject(String);

impl TryFrom<StrictString> for Subject {
    type Error = String;

    fn try_from(StrictString(text): StrictString) -> Result<Self, String> {
        match text.chars().all(|c| c == '*') {
            false => Ok(Self(text)),
            true => Err(format!(
                "{text:?} would trust everybody: name a subject, as system:serviceaccount:NAMESPACE:NAME"
            )),
        }
    }
}

impl ProviderEntry {
    pub(super) fn provider(self) -> Provider {
        let path = |text: Option<StrictString>| text.map(|StrictString(path)| PathBuf::from(path));
        Provider {
            issuer: self.issuer.0,
            keys: self
                .keys
                .map_or(KeySource::Discovery, |Keys(source)| source),
            authorities: path(self.ca),
            token: path(self.token),
        }
    }
}

impl RoleEntry {
    /// The role, without its policies; `path` is that of the entry.
    pub(super) fn role(
        self,
        providers: &[Provider],
        path: &FieldPath,
        problem: impl Fn(&FieldPath, String) -> Problem,
    ) -> Result<Role> {
        let mut trust = Vec::new();
        for (i, entry) in self.trust.into_iter().enumerate() {
            let StrictString(issuer) = entry.issuer;
            if !providers.iter().any(|known| known.issuer == issuer) {
                let path = path.clone().field("trust").index(i).field("issuer");
                let why = format!("no provider below 'providers:' has the issuer {issuer:?}");
                return Err(problem(&path, why));
            }
            let audience = entry.audience.map(|StrictString(audience)| audience);
            trust.push(Trust {
                issuer,
                subject: entry.subject.0,
                audience: audience.unwrap_or_else(|| STS_AUDIENCE.to_owned()),
            });
        }
        Ok(Role {
            account: self.account.0,
            name: self.name.0,
            statements: Vec::new(),
            trust,
        })
    }
}
