//! Authorization of the operator API.

use super::User;
use crate::{service::OPERATOR_SERVICE, sigv4::AuthError};
use http::{Method, request::Parts};
use tombolo_model::Scope;

/// The action of a call of the operator API, such as an export: `tombolo:Read` or `tombolo:Write`, on the path.
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

    /// Whether the action is `tombolo:Read`.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Checks that the policies of a user allow the action.
    ///
    /// # Errors
    /// No policy allows it.
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
