//! Keys, their users, and the users' policies.

use super::{
    glob,
    role::Role,
    session_keys::{self, SessionKeys},
};
use crate::{
    oidc::Provider,
    service::Service,
    sigv4::{AuthError, Secret, is_equal, sha256},
};
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
    /// By account and name.
    pub(super) roles: HashMap<(String, String), Arc<Role>>,
    pub(super) providers: Vec<Provider>,
}

/// The region that clients sign for when they call STS by its global name, `sts.amazonaws.com`.
const GLOBAL_REGION: &str = "us-east-1";

impl KeyStore {
    /// The issuers whose tokens are read.
    pub(crate) fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The role of an account.
    pub(crate) fn role(&self, account: &str, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(&(account.to_owned(), name.to_owned()))
    }

    /// All roles, in no order.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// Refuses a region that is not served. STS answers for its global name wherever it is.
    pub(crate) fn check_region(&self, service: &str, region: &str) -> Result<(), AuthError> {
        let is_global = service == Service::Sts.signing_name() && region == GLOBAL_REGION;
        if self.regions.is_empty() || is_global || self.regions.iter().any(|known| known == region)
        {
            return Ok(());
        }
        Err(AuthError::Invalid(format!(
            "Credential should be scoped to a valid region: '{}'. ",
            self.regions.join("', '")
        )))
    }

    /// The user and the secret of a key that is valid now: one of the file, or one of a session.
    pub(crate) fn find(
        &self,
        sessions: &SessionKeys,
        access_key: &str,
        token: Option<&str>,
        now: u64,
    ) -> Result<(Arc<User>, Secret), AuthError> {
        match token {
            Some(token) if !self.keys.contains_key(access_key) => {
                self.find_session(sessions, access_key, token, now)
            }
            _ => self.find_key(access_key, token, now),
        }
    }

    fn find_session(
        &self,
        sessions: &SessionKeys,
        access_key: &str,
        token: &str,
        now: u64,
    ) -> Result<(Arc<User>, Secret), AuthError> {
        let session = sessions.open(token).ok_or(AuthError::UnknownKey)?;
        if !is_equal(&session.access_key, access_key) {
            return Err(AuthError::UnknownKey);
        }
        if now >= session.expires {
            return Err(AuthError::KeyExpired);
        }
        // A role that was taken out of the file ends its sessions; policies are those of now.
        let role = self.role(&session.account, &session.role);
        let user = role.ok_or(AuthError::UnknownKey)?.user(&session.name);
        Ok((Arc::new(user), sessions.secret(access_key)))
    }

    fn find_key(
        &self,
        access_key: &str,
        token: Option<&str>,
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

    /// `arn:aws:sts::111122223333:assumed-role/appmesh-controller/SESSION`.
    pub(super) fn of_session(
        account: &str,
        role: &str,
        session: &str,
        statements: Vec<Statement>,
    ) -> Self {
        Self {
            account: account.to_owned(),
            arn: session_keys::arn(account, role, session),
            id: session_keys::user_id(account, role, session),
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
