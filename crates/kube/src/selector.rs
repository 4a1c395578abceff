//! Kubernetes label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use tombolo_model::schema::{HasSchema, Member, Schema};
use tombolo_model::validation::Validator;

/// Labels of a pod, a namespace or a mesh object.
pub type Labels = BTreeMap<String, String>;

/// Whether `selector` selects something labelled `labels`.
///
/// An empty selector selects everything. The meaning of an absent one differs from field to field, so the caller
/// decides it. An operator outside `In`, `NotIn`, `Exists`, `DoesNotExist` selects nothing; reading a manifest
/// rejects it first.
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| satisfies(requirement, labels))
}

fn satisfies(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let listed = |value: &String| {
        requirement
            .values
            .iter()
            .flatten()
            .any(|item| item == value)
    };
    let value = labels.get(&requirement.key);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Stands for a selector where a schema is asked for, because the type is foreign.
pub(crate) enum Described {}

impl HasSchema for Described {
    fn schema() -> Schema {
        let labels = Member {
            schema: Schema::Map(Box::new(Schema::TEXT)),
            ..Member::new::<Option<String>>("matchLabels", "Labels that must be equal.")
        };
        let expressions = Schema::List {
            items: Box::new(Schema::object([
                Member::new::<String>("key", "The label."),
                Member::new::<String>("operator", "In, NotIn, Exists or DoesNotExist."),
                Member::new::<Option<Vec<String>>>("values", "For In and NotIn."),
            ])),
            count: None,
        };
        let expressions = Member {
            schema: expressions,
            ..Member::new::<Option<String>>("matchExpressions", "Expressions that must hold.")
        };
        Schema::object([labels, expressions])
    }
}

/// Labels for a message: `{app=front, tier=web}`.
pub(crate) fn written(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Reports expressions of `selector` that cannot be evaluated.
pub(crate) fn check(
    validator: &mut Validator,
    name: &'static str,
    selector: Option<&LabelSelector>,
) {
    let Some(expressions) = selector.and_then(|selector| selector.match_expressions.as_ref())
    else {
        return;
    };
    validator.within(name, |validator| {
        validator.each("matchExpressions", expressions, |validator, requirement| {
            if requirement.key.is_empty() {
                validator.deny("key", "is required");
            }
            let has_values = requirement
                .values
                .as_ref()
                .is_some_and(|values| !values.is_empty());
            match requirement.operator.as_str() {
                "In" | "NotIn" if !has_values => {
                    validator.deny(
                        "values",
                        format!("operator {} needs at least one value", requirement.operator),
                    );
                }
                "Exists" | "DoesNotExist" if has_values => {
                    validator.deny(
                        "values",
                        format!("operator {} takes no values", requirement.operator),
                    );
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => validator.deny(
                    "operator",
                    format!("{other:?} is not an operator; use In, NotIn, Exists or DoesNotExist"),
                ),
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn selector(json: serde_json::Value) -> LabelSelector {
        serde_json::from_value(json).expect("selector")
    }

    #[test]
    fn an_empty_selector_selects_everything() {
        assert!(matches(&LabelSelector::default(), &labels(&[])));
        assert!(matches(
            &LabelSelector::default(),
            &labels(&[("app", "front")])
        ));
    }

    #[test]
    fn every_label_and_expression_must_hold() {
        let both = selector(serde_json::json!({
            "matchLabels": {"app": "color"},
            "matchExpressions": [{"key": "version", "operator": "In", "values": ["red", "blue"]}],
        }));
        assert!(matches(
            &both,
            &labels(&[("app", "color"), ("version", "red")])
        ));
        assert!(!matches(
            &both,
            &labels(&[("app", "color"), ("version", "green")])
        ));
        assert!(!matches(&both, &labels(&[("version", "red")])));
    }

    #[test]
    fn a_label_that_is_absent_is_not_in_any_list() {
        let not_in = selector(serde_json::json!({
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}],
        }));
        assert!(matches(&not_in, &labels(&[])));
        assert!(!matches(&not_in, &labels(&[("tier", "db")])));
        for (operator, present, absent) in [("Exists", true, false), ("DoesNotExist", false, true)]
        {
            let selector = selector(
                serde_json::json!({"matchExpressions": [{"key": "tier", "operator": operator}]}),
            );
            assert_eq!(
                matches(&selector, &labels(&[("tier", "x")])),
                present,
                "{operator}"
            );
            assert_eq!(matches(&selector, &labels(&[])), absent, "{operator}");
        }
    }
}
