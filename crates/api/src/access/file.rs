//! The credentials file.
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

use super::{
    key_store::{Key, KeyStore, Statement, User},
    managed,
};
use crate::sigv4::{Secret, date};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tombolo_document::{Limits, Lines, yaml};
use tombolo_model::{FieldPath, Scope};

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, Problem>;

/// A value of the file and its lines.
#[derive(Clone, Copy)]
struct Node<'a> {
    value: &'a Value,
    lines: &'a Lines,
}

/// The file is written by hand and holds a few users.
const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    documents: 1,
    nodes: 100_000,
    depth: 16,
    aliases: true,
};

/// The services whose actions are known.
const SERVICES: &[&str] = &[
    "appmesh",
    "servicediscovery",
    "sts",
    "tag",
    "tombolo",
    "xray",
];

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
            message: "the file must hold one document with 'users:'".into(),
        });
    };
    let document = Node {
        value: &document.value,
        lines: &document.lines,
    };
    let file = Fields::of(document, "the file", &["regions", "policies", "users"])?;
    let mut store = KeyStore::default();
    for region in file.list("regions")? {
        let name = text_of(region, "a region")?;
        Scope::parse("000000000000", name).map_err(|why| problem(region, why))?;
        store.regions.push(name.to_owned());
    }
    let policies = match file.get("policies") {
        Some(node) => policies(node)?,
        None => HashMap::new(),
    };
    let users = file.need("users")?;
    let mut names = HashSet::new();
    for node in items(users, "users")? {
        let fields = Fields::of(node, "a user", &["name", "account", "policies", "keys"])?;
        let user = Arc::new(user(&fields, &policies)?);
        if !names.insert(user.arn.clone()) {
            return Err(problem(node, format!("{} is given twice", user.arn)));
        }
        for node in items(fields.need("keys")?, "keys")? {
            let (id, key) = key(node, user.clone())?;
            if store.keys.insert(id.clone(), key).is_some() {
                return Err(problem(node, format!("the key {id} is given twice")));
            }
        }
    }
    Ok(store)
}

fn policies(node: Node<'_>) -> Result<HashMap<String, Vec<Statement>>> {
    let Some(members) = members(node) else {
        return Err(problem(
            node,
            "policies: must be a map from names to statements",
        ));
    };
    let mut policies = HashMap::new();
    for (key, statements) in members {
        if managed::actions(key).is_some() {
            let why = format!("{key} is a policy that AWS manages; choose another name");
            return Err(problem(statements, why));
        }
        let statements = items(statements, key)?;
        let statements = statements
            .into_iter()
            .map(statement)
            .collect::<Result<_>>()?;
        policies.insert(key.to_owned(), statements);
    }
    Ok(policies)
}

fn statement(node: Node<'_>) -> Result<Statement> {
    let fields = Fields::of(node, "a statement", &["actions", "resources"])?;
    let mut actions = Vec::new();
    for node in items(fields.need("actions")?, "actions")? {
        let action = text_of(node, "an action")?;
        let service = action.split_once(':').map(|(service, _)| service);
        let is_known = |service: &str| service.contains('*') || SERVICES.contains(&service);
        if action != "*" && !service.is_some_and(is_known) {
            let services = SERVICES.join(", ");
            return Err(problem(
                node,
                format!(
                    "{action:?} is no action like appmesh:ListMeshes or appmesh:*, of {services}"
                ),
            ));
        }
        actions.push(action.to_owned());
    }
    let mut resources = Vec::new();
    for node in fields.list("resources")? {
        let resource = text_of(node, "a resource")?;
        if resource != "*" && !resource.starts_with("arn:") {
            return Err(problem(
                node,
                format!("{resource:?} is neither an ARN nor *"),
            ));
        }
        resources.push(resource.to_owned());
    }
    if fields.get("resources").is_none() {
        resources.push("*".to_owned());
    }
    Ok(Statement { actions, resources })
}

fn user(fields: &Fields<'_>, policies: &HashMap<String, Vec<Statement>>) -> Result<User> {
    let name_node = fields.need("name")?;
    let name = text_of(name_node, "name")?;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(is_legal) {
        let why = format!("name: {name:?} is not 1 to 128 letters, digits and any of +=,.@_-/");
        return Err(problem(name_node, why));
    }
    let account_node = fields.need("account")?;
    let account = text_of(account_node, "account")?;
    Scope::parse(account, "none").map_err(|why| problem(account_node, why))?;
    let mut statements = Vec::new();
    for node in fields.list("policies")? {
        let name = text_of(node, "a policy")?;
        if let Some(own) = policies.get(name) {
            statements.extend(own.iter().cloned());
        } else if let Some(actions) = managed::actions(name) {
            statements.push(Statement {
                actions: actions.iter().map(|&action| action.to_owned()).collect(),
                resources: vec!["*".to_owned()],
            });
        } else {
            let known: Vec<&str> = managed::names().collect();
            return Err(problem(
                node,
                format!(
                    "no policy is called {name:?}: it is neither below 'policies:' nor one of {}",
                    known.join(", ")
                ),
            ));
        }
    }
    Ok(User::new(account, name, statements))
}

fn key(node: Node<'_>, user: Arc<User>) -> Result<(String, Key)> {
    let fields = Fields::of(node, "a key", &["id", "secret", "session-token", "expires"])?;
    let id_node = fields.need("id")?;
    let id = text_of(id_node, "id")?;
    if id.is_empty()
        || id.len() > 128
        || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        let why = format!("id: {id:?} is not 1 to 128 letters, digits and underscores");
        return Err(problem(id_node, why));
    }
    let secret_node = fields.need("secret")?;
    let secret = text_of(secret_node, "secret")?;
    if secret.is_empty() {
        return Err(problem(secret_node, "secret: must not be empty"));
    }
    let token = fields.get("session-token");
    let token = token
        .map(|node| text_of(node, "session-token"))
        .transpose()?;
    let expires = match fields.get("expires") {
        None => None,
        Some(node) => {
            let text = text_of(node, "expires")?;
            let why = format!("expires: {text:?} is not a time like 2027-01-01T00:00:00Z");
            Some(date::parse_extended(text).ok_or_else(|| problem(node, why))?)
        }
    };
    let key = Key {
        user,
        secret: Secret::new(secret),
        token: token.map(Secret::new),
        expires,
    };
    Ok((id.to_owned(), key))
}

/// The fields of a map, all of which are known.
struct Fields<'a> {
    what: &'static str,
    node: Node<'a>,
    fields: Vec<(&'a str, Node<'a>)>,
}

impl<'a> Fields<'a> {
    fn of(node: Node<'a>, what: &'static str, known: &[&str]) -> Result<Self> {
        let Some(members) = members(node) else {
            return Err(problem(node, format!("{what} must be a map")));
        };
        let mut fields = Vec::new();
        for (name, value) in members {
            if !known.contains(&name) {
                let known = known.join(", ");
                return Err(problem(
                    value,
                    format!("{what} has no field {name:?}; there are: {known}"),
                ));
            }
            fields.push((name, value));
        }
        Ok(Self { what, node, fields })
    }

    fn get(&self, name: &str) -> Option<Node<'a>> {
        let found = self.fields.iter().find(|(field, _)| *field == name);
        found.map(|(_, node)| *node)
    }

    fn need(&self, name: &str) -> Result<Node<'a>> {
        let what = self.what;
        self.get(name)
            .ok_or_else(|| problem(self.node, format!("{what} needs '{name}:'")))
    }

    /// The items of a list; none when it is absent.
    fn list(&self, name: &str) -> Result<Vec<Node<'a>>> {
        self.get(name)
            .map_or(Ok(Vec::new()), |node| items(node, name))
    }
}

/// The members of a map, each at the line of its key.
fn members<'a>(node: Node<'a>) -> Option<impl Iterator<Item = (&'a str, Node<'a>)>> {
    let members = node.value.as_object()?.iter();
    Some(members.map(move |(key, value)| {
        let lines = node.lines.field(key).unwrap_or(node.lines);
        (key.as_str(), Node { value, lines })
    }))
}

fn items<'a>(node: Node<'a>, what: &str) -> Result<Vec<Node<'a>>> {
    let Value::Array(items) = node.value else {
        return Err(problem(node, format!("{what}: must be a list")));
    };
    let items = items.iter().enumerate().map(|(index, value)| Node {
        value,
        lines: node.lines.item(index).unwrap_or(node.lines),
    });
    Ok(items.collect())
}

fn text_of<'a>(node: Node<'a>, what: &str) -> Result<&'a str> {
    match node.value {
        Value::String(text) => Ok(text),
        // YAML would lose the zeros before an account's number. Never show what may be a secret.
        Value::Number(_) => Err(problem(
            node,
            format!("{what}: must be text; put the number in quotes"),
        )),
        _ => Err(problem(node, format!("{what}: must be text"))),
    }
}

fn problem(node: Node<'_>, message: impl Into<String>) -> Problem {
    Problem {
        line: node.lines.of(&FieldPath::root()),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
