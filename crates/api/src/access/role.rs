//! Roles that the bearers of OpenID Connect tokens may assume.

use super::{
    glob,
    key_store::{Statement, User},
};
use crate::oidc::{Claims, Provider};

/// A role of an account, with those who may assume it.
#[derive(Debug)]
pub(crate) struct Role {
    /// Twelve digits.
    pub(super) account: String,
    /// `appmesh-controller`, or with a path before it.
    pub(super) name: String,
    pub(super) statements: Vec<Statement>,
    pub(super) trust: Vec<Trust>,
}

/// Whose tokens are good for a role.
#[derive(Debug)]
pub(super) struct Trust {
    /// One of the file's providers.
    pub(super) issuer: String,
    /// A pattern.
    pub(super) subject: String,
    pub(super) audience: String,
}

/// Whether the trust policy of a role matches a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TrustMatch {
    /// No entry has this issuer and subject.
    None,
    /// An entry has the issuer and subject, but another audience.
    OtherAudience,
    /// An entry has all three.
    Full,
}

impl Role {
    /// Matches claims; `audience` compares the audience of an entry with one of the claims.
    pub(crate) fn matches(
        &self,
        claims: &Claims,
        audience: impl Fn(&str, &str) -> bool,
    ) -> TrustMatch {
        let of = |trust: &Trust| {
            if trust.issuer != claims.issuer || !glob::matches(&trust.subject, &claims.subject) {
                return TrustMatch::None;
            }
            let mut given = claims.audiences.iter();
            match given.any(|given| audience(&trust.audience, given)) {
                true => TrustMatch::Full,
                false => TrustMatch::OtherAudience,
            }
        };
        let fits = self.trust.iter().map(of);
        fits.max().unwrap_or(TrustMatch::None)
    }

    /// The user that a session of this role acts as.
    pub(crate) fn user(&self, session: &str) -> User {
        User::of_session(&self.account, &self.name, session, self.statements.clone())
    }
}

/// The provider of an issuer.
pub(crate) fn provider<'a>(providers: &'a [Provider], issuer: &str) -> Option<&'a Provider> {
    providers.iter().find(|provider| provider.issuer == issuer)
}
