//! Keys, their users, and the users' policies.

use super::glob;
use crate::sigv4::{AuthError, Secret, is_equal, sha256};
use std::{collections::HashMap, sync::Arc};

/// The maximum length of an ARN that is matched with patterns, in bytes: no resource has a longer one.
const MAX_RESOURCE: usize = 2048;

/// A statement of a policy: allows each of these actions on each of these resources. Both are patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) actions: Vec<String>,
    pub(super) resources: Vec<String>,
}

/// A user of an account.
#[derive(Debug)]
pub(crate) struct User {
    /// Twelve digits.
    pub(crate) account: String,
    /// `arn:aws:iam::111122223333:user/alice`.
    pub(crate) arn: String,
    /// The id in IAM's form: `AIDA` and 17 characters, derived from the ARN.
    pub(crate) id: String,
    statements: Vec<Statement>,
}

/// A key and its owner.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) user: Arc<User>,
    pub(super) secret: Secret,
    /// The session token that each request must have; `None` if the key has none.
    pub(super) token: Option<Secret>,
    /// The time at which the key expires, in seconds since 1970; `None` if it does not.
    pub(super) expires: Option<u64>,
}

/// All keys by their ids.
#[derive(Debug, Default)]
pub(crate) struct KeyStore {
    pub(super) keys: HashMap<String, Key>,
    /// The allowed regions; all if empty.
    pub(super) regions: Vec<String>,
}

impl KeyStore {
    /// The user and the secret of a key. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The key or its token is unknown, the key has expired, or the region is not allowed.
    pub(crate) fn find(
        &self,
        access_key: &str,
        token: Option<&str>,
        region: &str,
        now: u64,
    ) -> Result<(Arc<User>, Secret), AuthError> {
        let key = self.keys.get(access_key).ok_or(AuthError::UnknownKey)?;
        let is_token_right = match (&key.token, token) {
            (None, None) => true,
            (Some(expected), Some(given)) => is_equal(expected.expose(), given),
            _ => false,
        };
        if !is_token_right {
            return Err(AuthError::UnknownKey);
        }
        if key.expires.is_some_and(|expires| now >= expires) {
            return Err(AuthError::KeyExpired);
        }
        if !self.regions.is_empty() && !self.regions.iter().any(|known| known == region) {
            return Err(AuthError::Invalid(format!(
                "Credential should be scoped to a valid region: '{}'. ",
                self.regions.join("', '")
            )));
        }
        Ok((key.user.clone(), key.secret.clone()))
    }
}

impl User {
    pub(super) fn new(account: &str, name: &str, statements: Vec<Statement>) -> Self {
        let arn = format!("arn:aws:iam::{account}:user/{name}");
        let id = format!("AIDA{}", &sha256(arn.as_bytes())[..17].to_ascii_uppercase());
        Self {
            account: account.to_owned(),
            arn,
            id,
            statements,
        }
    }

    /// Checks that a policy allows an action. `resource` is called only if a policy names resources.
    ///
    /// # Errors
    /// No policy allows it.
    pub(crate) fn check(
        &self,
        action: &str,
        resource: impl FnOnce() -> String,
    ) -> Result<(), AuthError> {
        let for_action = |statement: &&Statement| {
            let mut actions = statement.actions.iter();
            actions.any(|pattern| glob::matches_any_case(pattern, action))
        };
        let is_everything = |pattern: &String| pattern == "*";
        let statements = || self.statements.iter().filter(for_action);
        if statements().any(|statement| statement.resources.iter().any(is_everything)) {
            return Ok(());
        }
        let mut resource = resource();
        if resource.len() > MAX_RESOURCE {
            resource = "*".to_owned();
        }
        let matches_resource = |statement: &Statement| {
            let mut resources = statement.resources.iter();
            resources.any(|pattern| glob::matches(pattern, &resource))
        };
        if statements().any(matches_resource) {
            return Ok(());
        }
        Err(AuthError::Denied(format!(
            "User: {} is not authorized to perform: {action} on resource: {resource}",
            self.arn
        )))
    }
}
