//! The selection of a request's objects: by kinds, namespaces, names and labels.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use tombolo_kube::selector::{Labels, matches};

use super::types::ErrorResponse;
use crate::cluster::{Cluster, Kind, Object};

/// The kinds of `all`, in the order of `kubectl get all`.
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
pub(super) fn kinds(text: &str) -> Result<Vec<Kind>, ErrorResponse> {
    if text == "all" {
        return Ok(ALL.to_vec());
    }
    let read = |word: &str| {
        Kind::from_argument(word.trim()).ok_or_else(|| {
            let known: Vec<_> = Kind::all().map(Kind::plural).collect();
            ErrorResponse::new(format!(
                "there is no kind \"{word}\"; there are {}",
                known.join(", ")
            ))
        })
    };
    text.split(',').map(read).collect()
}

/// The clusters that a name selects; all when there is no name.
pub(super) fn clusters<'a>(
    all: &'a [Arc<Cluster>],
    name: Option<&str>,
) -> Result<Vec<&'a Arc<Cluster>>, ErrorResponse> {
    let Some(name) = name else {
        return Ok(all.iter().collect());
    };
    match all.iter().find(|cluster| cluster.name == name) {
        Some(cluster) => Ok(vec![cluster]),
        None => Err(ErrorResponse::new(format!(
            "there is no cluster \"{name}\"; there are {}",
            names(all)
        ))),
    }
}

/// The cluster of this name, or the only one.
pub(super) fn cluster<'a>(
    all: &'a [Arc<Cluster>],
    name: Option<&str>,
) -> Result<&'a Arc<Cluster>, ErrorResponse> {
    match clusters(all, name)?[..] {
        [one] => Ok(one),
        _ => Err(ErrorResponse::new(format!(
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

/// A label selector in kubectl's syntax.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector(LabelSelector);

impl Selector {
    /// Reads `app=web,tier!=db,zone in (a,b),canary,!old`.
    ///
    /// # Errors
    /// The text is not a label selector.
    pub fn read(text: &str) -> Result<Self, ErrorResponse> {
        let requirements = split(text).into_iter().map(|part| {
            let part = part.trim();
            let (key, operator, values) = if let Some((key, values)) = part.split_once(" notin ") {
                (key, "NotIn", list(values))
            } else if let Some((key, values)) = part.split_once(" in ") {
                (key, "In", list(values))
            } else if let Some((key, value)) = part.split_once("!=") {
                (key, "NotIn", vec![value.trim().to_owned()])
            } else if let Some((key, value)) = part.split_once('=') {
                let value = value.trim_start_matches('=').trim();
                (key, "In", vec![value.to_owned()])
            } else if let Some(key) = part.strip_prefix('!') {
                (key, "DoesNotExist", Vec::new())
            } else if part.is_empty() || part.contains(['(', ')', ' ']) {
                return Err(ErrorResponse::new(format!(
                    "\"{text}\" is not a label selector; write app=web,tier!=db"
                )));
            } else {
                (part, "Exists", Vec::new())
            };
            Ok(LabelSelectorRequirement {
                key: key.trim().to_owned(),
                operator: operator.to_owned(),
                values: Some(values),
            })
        });
        Ok(Self(LabelSelector {
            match_expressions: Some(requirements.collect::<Result<_, _>>()?),
            match_labels: None,
        }))
    }

    /// Whether labels match it.
    pub fn matches(&self, labels: &Labels) -> bool {
        matches(&self.0, labels)
    }
}

fn list(text: &str) -> Vec<String> {
    let inside = text.trim().trim_start_matches('(').trim_end_matches(')');
    inside
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

/// Selects objects of a cluster.
pub(super) fn select(
    cluster: &Cluster,
    kinds: &[Kind],
    namespace: Option<&str>,
    name: Option<&str>,
    selector: Option<&Selector>,
) -> Vec<Arc<Object>> {
    let is_selected = |object: &Object| {
        let labels = object.meta.labels.clone().unwrap_or_default();
        namespace.is_none_or(|namespace| {
            !object.key.kind.namespaced() || object.key.namespace == namespace
        }) && name.is_none_or(|name| object.key.name == name)
            && selector.is_none_or(|selector| selector.matches(&labels))
    };
    cluster.objects.read(|objects| {
        let objects = kinds.iter().flat_map(|kind| objects.of_kind(*kind));
        objects
            .filter(|object| is_selected(object))
            .cloned()
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_kubectl_reads_them() {
        let labels = Labels::from([
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
            let selector = Selector::read(text).unwrap();
            assert_eq!(selector.matches(&labels), fits, "{text}");
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
