//! Actions of the operator API in policies.

use super::User;
use crate::{service::OPERATOR_SERVICE, sigv4::AuthError};
use http::{Method, request::Parts};
use tombolo_model::Scope;

/// A call of one of our own paths, such as an export: `tombolo:Read` or `tombolo:Write`, on the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OperatorAction {
    is_read: bool,
    path: String,
}

impl OperatorAction {
    pub(crate) fn of(request: &Parts) -> Self {
        Self {
            is_read: [Method::GET, Method::HEAD].contains(&request.method),
            path: request.uri.path().trim_start_matches('/').to_owned(),
        }
    }

    /// Whether it only reads.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Refuses what the policies of a user do not allow.
    pub(crate) fn authorize(&self, user: &User, scope: &Scope) -> Result<(), AuthError> {
        let verb = if self.is_read { "Read" } else { "Write" };
        user.check(&format!("{OPERATOR_SERVICE}:{verb}"), || {
            let (region, account) = (&scope.region, &scope.account);
            format!(
                "arn:aws:{OPERATOR_SERVICE}:{region}:{account}:{}",
                self.path
            )
        })
    }
}
