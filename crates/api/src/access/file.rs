//! The format of the credentials file.
//!
//! ```yaml
//! regions: [us-west-2]              # optional: all others are refused
//! policies:                         # optional: beside those that AWS manages
//!   color-team:
//!     - actions: ["appmesh:*"]
//!       resources: ["arn:aws:appmesh:*:111122223333:mesh/color*"]   # "*" when absent
//! users:
//!   - name: alice
//!     account: "111122223333"
//!     policies: [AWSAppMeshReadOnly, color-team]
//!     keys:
//!       - id: AKIDEXAMPLE
//!         secret: …
//!         session-token: …                  # optional: must come with each request
//!         expires: 2027-01-01T00:00:00Z     # optional
//! ```
//!
//! Roles for the bearers of tokens: see [`role`].

mod role;

use super::{
    key_store::{Key, KeyStore, Statement, User},
    managed,
};
use crate::sigv4::Secret;
use serde::{Deserialize, Deserializer, de};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};
use tombolo_document::{Limits, Lines, decode, yaml};
use tombolo_model::{FieldPath, Scope};

/// An error in the file, with its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

type Result<T, E = Problem> = std::result::Result<T, E>;

/// The limits of the file, which is written by hand and has a few users; 1 MiB is about five thousand keys.
const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    documents: 1,
    nodes: 100_000,
    depth: 16,
    aliases: true,
};

/// The services of valid actions.
const SERVICES: &[&str] = &[
    "appmesh",
    "eks",
    "servicediscovery",
    "sts",
    "tag",
    "tombolo",
    "xray",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    regions: Vec<Region>,
    #[serde(default)]
    policies: BTreeMap<PolicyName, Vec<StatementEntry>>,
    #[serde(default)]
    users: Vec<UserEntry>,
    #[serde(default)]
    providers: Vec<role::ProviderEntry>,
    #[serde(default)]
    roles: Vec<role::RoleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementEntry {
    actions: Vec<Action>,
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: UserName,
    account: Account,
    #[serde(default)]
    policies: Vec<StrictString>,
    keys: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: KeyId,
    secret: SecretText,
    #[serde(rename = "session-token")]
    session_token: Option<StrictString>,
    expires: Option<Expiry>,
}

/// A string that must be a string in YAML too: as a number, an account would lose its leading zeros. Errors do not
/// show the value, which may be a secret.
struct StrictString(String);

impl<'de> Deserialize<'de> for StrictString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = StrictString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StrictString, E> {
                Ok(StrictString(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<StrictString, E> {
                Err(E::custom("must be text; put the number in quotes"))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<StrictString, E> {
                self.visit_u64(0)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<StrictString, E> {
                self.visit_u64(0)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Declares types that are parsed from a string by a function, whose error is the message for the operator.
macro_rules! from_text {
    ($($name:ident($inner:ty), $read:expr;)*) => {$(
        #[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
        #[serde(try_from = "StrictString")]
        struct $name($inner);

        impl TryFrom<StrictString> for $name {
            type Error = String;

            fn try_from(StrictString(text): StrictString) -> Result<Self, String> {
                let read: fn(String) -> Result<$inner, String> = $read;
                read(text).map(Self)
            }
        }
    )*};
}

from_text! {
    Region(String), |text| match Scope::parse("000000000000", &text) {
        Ok(_) => Ok(text),
        Err(why) => Err(why.to_string()),
    };
    Account(String), |text| match Scope::parse(&text, "none") {
        Ok(_) => Ok(text),
        Err(why) => Err(why.to_string()),
    };
    PolicyName(String), |text| match managed::actions(&text) {
        None => Ok(text),
        Some(_) => Err(format!("{text} is a policy that AWS manages; choose another name")),
    };
    Action(String), |text| {
        let service = text.split_once(':').map(|(service, _)| service);
        let is_known = |service: &str| service.contains('*') || SERVICES.contains(&service);
        if text == "*" || service.is_some_and(is_known) {
            return Ok(text);
        }
        let services = SERVICES.join(", ");
        Err(format!("{text:?} is no action like appmesh:ListMeshes or appmesh:*, of {services}"))
    };
    Resource(String), |text| match text == "*" || text.starts_with("arn:") {
        true => Ok(text),
        false => Err(format!("{text:?} is neither an ARN nor *")),
    };
    UserName(String), |text| {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c);
        match (1..=128).contains(&text.len()) && text.chars().all(is_legal) {
            true => Ok(text),
            false => Err(format!("{text:?} is not 1 to 128 letters, digits and any of +=,.@_-/")),
        }
    };
    KeyId(String), |text| {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match (1..=128).contains(&text.len()) && text.chars().all(is_legal) {
            true => Ok(text),
            false => Err(format!("{text:?} is not 1 to 128 letters, digits and underscores")),
        }
    };
    SecretText(String), |text| match text.is_empty() {
        false => Ok(text),
        true => Err("must not be empty".into()),
    };
    // A time before 1970 becomes 1970: the key has expired in both cases.
    Expiry(u64), |text| match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(u64::try_from(time.as_second()).unwrap_or(0)),
        Err(_) => Err(format!("{text:?} is not a time like 2027-01-01T00:00:00Z")),
    };
}

/// Reads the text of a credentials file.
pub(super) fn read(text: &str) -> Result<KeyStore> {
    let (documents, error) = yaml::read(text, &LIMITS);
    if let Some(error) = error {
        return Err(Problem {
            line: error.line,
            message: error.message,
        });
    }
    let [document] = documents.as_slice() else {
        return Err(Problem {
            line: 1,
            message: "the file must hold one document with 'users:' or 'roles:'".into(),
        });
    };
    let file: Result<File, _> = decode(&document.value).map(|decoded| decoded.value);
    let file = file.map_err(|error| Problem {
        line: document.lines.of(&error.field),
        message: error.to_string(),
    })?;
    file.key_store(&document.lines)
}

impl File {
    /// Builds the key store. Errors have a line from `lines`.
    fn key_store(self, lines: &Lines) -> Result<KeyStore> {
        let problem = |path: &FieldPath, message: String| Problem {
            line: lines.of(path),
            message,
        };
        let mut store = KeyStore {
            regions: self.regions.into_iter().map(|Region(name)| name).collect(),
            ..KeyStore::default()
        };
        let policies = self.policies.into_iter();
        let policies: BTreeMap<String, Vec<Statement>> = policies
            .map(|(PolicyName(name), entries)| {
                let statements = entries.into_iter().map(StatementEntry::statement);
                (name, statements.collect())
            })
            .collect();
        let statements_of = |names: &[StrictString], path: &FieldPath| {
            let mut statements = Vec::new();
            for (i, StrictString(name)) in names.iter().enumerate() {
                let found = match policies.get(name) {
                    Some(own) => Some(own.clone()),
                    None => managed::actions(name).map(|actions| vec![Statement::of(actions)]),
                };
                statements.extend(found.ok_or_else(|| {
                    let known: Vec<&str> = managed::names().collect();
                    let known = known.join(", ");
                    let why = format!(
                        "no policy is called {name:?}: it is neither below 'policies:' nor one of {known}"
                    );
                    problem(&path.clone().field("policies").index(i), why)
                })?);
            }
            Ok(statements)
        };
        let providers = self.providers.into_iter();
        store.providers = providers.map(role::ProviderEntry::provider).collect();
        for (i, entry) in self.roles.into_iter().enumerate() {
            let path = FieldPath::root().field("roles").index(i);
            let statements = statements_of(&entry.policies, &path)?;
            let mut role = entry.role(&store.providers, &path, problem)?;
            role.statements = statements;
            let key = (role.account.clone(), role.name.clone());
            if store.roles.contains_key(&key) {
                let (account, name) = key;
                let why = format!("arn:aws:iam::{account}:role/{name} is given twice");
                return Err(problem(&path, why));
            }
            store.roles.insert(key, Arc::new(role));
        }
        let mut names = HashSet::new();
        for (i, entry) in self.users.into_iter().enumerate() {
            let path = FieldPath::root().field("users").index(i);
            let statements = statements_of(&entry.policies, &path)?;
            let user = Arc::new(User::new(&entry.account.0, &entry.name.0, statements));
            if !names.insert(user.arn.clone()) {
                return Err(problem(&path, format!("{} is given twice", user.arn)));
            }
            for (i, entry) in entry.keys.into_iter().enumerate() {
                let KeyId(id) = entry.id;
                if store.keys.contains_key(&id) {
                    let path = path.clone().field("keys").index(i);
                    return Err(problem(&path, format!("the key {id} is given twice")));
                }
                let key = Key {
                    user: user.clone(),
                    secret: Secret::new(entry.secret.0),
                    token: entry
                        .session_token
                        .map(|StrictString(token)| Secret::new(token)),
                    expires: entry.expires.map(|Expiry(at)| at),
                };
                store.keys.insert(id, key);
            }
        }
        Ok(store)
    }
}

impl StatementEntry {
    fn statement(self) -> Statement {
        let resources = self.resources.map_or_else(
            || vec!["*".to_owned()],
            |resources| resources.into_iter().map(|Resource(text)| text).collect(),
        );
        Statement {
            actions: self.actions.into_iter().map(|Action(text)| text).collect(),
            resources,
        }
    }
}

impl Statement {
    /// A statement that allows these actions on every resource.
    fn of(actions: &[&str]) -> Self {
        Self {
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
            resources: vec!["*".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests;
