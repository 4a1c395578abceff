//! Which objects a person means: kinds, namespaces, names and labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::types::Refusal;
use crate::cluster::{Cluster, Kind, Object};

/// The kinds that `all` means, in the order of `kubectl get all`.
const ALL: [Kind; 10] = [
    Kind::Pod,
    Kind::Service,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::VirtualGateway,
    Kind::VirtualNode,
    Kind::VirtualRouter,
    Kind::VirtualService,
    Kind::GatewayRoute,
    Kind::BackendGroup,
];

/// Reads `pods`, `deploy,svc`, `all`.
pub(super) fn kinds(text: &str) -> Result<Vec<Kind>, Refusal> {
    if text == "all" {
        return Ok(ALL.to_vec());
    }
    let read = |word: &str| {
        Kind::typed(word.trim()).ok_or_else(|| {
            let known: Vec<_> = Kind::all().map(Kind::plural).collect();
            refusal(format!(
                "there is no kind \"{word}\"; there are {}",
                known.join(", ")
            ))
        })
    };
    text.split(',').map(read).collect()
}

/// A refusal without details.
pub(super) fn refusal(message: impl Into<String>) -> Refusal {
    Refusal {
        message: message.into(),
        problems: Vec::new(),
    }
}

/// The clusters meant by a name; all without one.
pub(super) fn clusters<'a>(
    all: &'a [Arc<Cluster>],
    name: Option<&str>,
) -> Result<Vec<&'a Arc<Cluster>>, Refusal> {
    let Some(name) = name else {
        return Ok(all.iter().collect());
    };
    match all.iter().find(|cluster| cluster.name == name) {
        Some(cluster) => Ok(vec![cluster]),
        None => Err(refusal(format!(
            "there is no cluster \"{name}\"; there are {}",
            names(all)
        ))),
    }
}

/// The one cluster meant by a name, or the only one.
pub(super) fn cluster<'a>(
    all: &'a [Arc<Cluster>],
    name: Option<&str>,
) -> Result<&'a Arc<Cluster>, Refusal> {
    match clusters(all, name)?[..] {
        [one] => Ok(one),
        _ => Err(refusal(format!(
            "which cluster? Say --cluster with one of {}",
            names(all)
        ))),
    }
}

fn names(all: &[Arc<Cluster>]) -> String {
    all.iter()
        .map(|cluster| cluster.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// A label selector as people type it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Reads `app=web,tier!=db,zone in (a,b),canary,!old`.
    ///
    /// # Errors
    /// The text is none.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let mut requirements = Vec::new();
        for part in split(text) {
            let part = part.trim();
            let requirement = if let Some((key, values)) = part
                .split_once(" notin ")
                .map(|(key, values)| (key, list(values)))
            {
                Requirement::NotIn(key.trim().to_owned(), values)
            } else if let Some((key, values)) = part
                .split_once(" in ")
                .map(|(key, values)| (key, list(values)))
            {
                Requirement::In(key.trim().to_owned(), values)
            } else if let Some((key, value)) = part.split_once("!=") {
                Requirement::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()])
            } else if let Some((key, value)) = part.split_once('=') {
                Requirement::In(
                    key.trim().to_owned(),
                    vec![value.trim_start_matches('=').trim().to_owned()],
                )
            } else if let Some(key) = part.strip_prefix('!') {
                Requirement::Absent(key.to_owned())
            } else if part.is_empty() || part.contains(['(', ')', ' ']) {
                return Err(refusal(format!(
                    "\"{text}\" is not a label selector; write app=web,tier!=db"
                )));
            } else {
                Requirement::Exists(part.to_owned())
            };
            requirements.push(requirement);
        }
        Ok(Self(requirements))
    }

    /// Whether labels satisfy it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            Requirement::NotIn(key, values) => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

fn list(text: &str) -> Vec<String> {
    text.trim()
        .trim_start_matches('(')
        .trim_end_matches(')')
        .split(',')
        .map(|value| value.trim().to_owned())
        .collect()
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for letter in text.chars() {
        match letter {
            ',' if depth <= 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                if let Some(part) = parts.last_mut() {
                    part.push(letter);
                }
            }
        }
    }
    parts
}

/// Objects of a cluster.
pub(super) fn select(
    cluster: &Cluster,
    kinds: &[Kind],
    namespace: Option<&str>,
    name: Option<&str>,
    selector: Option<&Selector>,
) -> Vec<Arc<Object>> {
    let empty = BTreeMap::new();
    cluster.objects.read(|objects| {
        let objects = kinds.iter().flat_map(|kind| objects.of_kind(*kind));
        let chosen = objects.filter(|object| {
            let labels = object.meta.labels.as_ref().unwrap_or(&empty);
            namespace.is_none_or(|namespace| {
                !object.key.kind.namespaced() || object.key.namespace == namespace
            }) && name.is_none_or(|name| object.key.name == name)
                && selector.is_none_or(|selector| selector.matches(labels))
        });
        chosen.cloned().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_kubectl_reads_them() {
        let labels = BTreeMap::from([
            ("app".to_owned(), "web".to_owned()),
            ("zone".to_owned(), "b".to_owned()),
        ]);
        for (text, fits) in [
            ("app=web", true),
            ("app==web,zone!=a", true),
            ("zone in (a, b),app", true),
            ("zone notin (a,b)", false),
            ("!app", false),
            ("!old", true),
            ("tier!=db", true),
        ] {
            assert_eq!(
                Selector::read(text).unwrap().matches(&labels),
                fits,
                "{text}"
            );
        }
        assert!(Selector::read("").is_err() && Selector::read("a (b)").is_err());
    }

    #[test]
    fn unknown_kind_lists_the_known_ones() {
        assert!(
            kinds("pods,foo")
                .unwrap_err()
                .message
                .contains("\"foo\"; there are namespaces")
        );
        assert_eq!(kinds("po,deploy").unwrap(), [Kind::Pod, Kind::Deployment]);
    }
}
