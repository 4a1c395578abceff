//! The difference of two objects as a JSON Patch (RFC 6902).
//!
//! Both sides are written from our types, so that a field which the types do not know is in neither and stays as the
//! API server has it. For the same reason a list is changed item by item where that can be said.

use serde::Serialize;
use serde_json::{Map, Value};

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Operation {
    Add { path: String, value: Value },
    Replace { path: String, value: Value },
    Remove { path: String },
}

/// What makes `after` of `before`; the changes apply in order.
pub(super) fn diff(before: &Value, after: &Value) -> Vec<Operation> {
    let mut changes = Vec::new();
    values("", before, after, &mut changes);
    changes
}

fn values(path: &str, before: &Value, after: &Value, changes: &mut Vec<Operation>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => objects(path, before, after, changes),
        (Value::Array(before), Value::Array(after)) if is_grown(before, after) => {
            arrays(path, before, after, changes);
        }
        _ => changes.push(Operation::Replace {
            path: path.to_owned(),
            value: after.clone(),
        }),
    }
}

fn objects(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<Operation>,
) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        changes.push(Operation::Remove {
            path: member(path, key),
        });
    }
    for (key, value) in after {
        match before.get(key) {
            Some(old) => values(&member(path, key), old, value, changes),
            None => changes.push(Operation::Add {
                path: member(path, key),
                value: value.clone(),
            }),
        }
    }
}

/// Whether `after` is `before` with items changed and further ones put in between: every old item is still there, in its
/// order.
fn is_grown(before: &[Value], after: &[Value]) -> bool {
    let mut old = before.iter().peekable();
    for item in after {
        old.next_if(|old| is_same_item(old, item));
    }
    old.peek().is_none()
}

fn arrays(path: &str, before: &[Value], after: &[Value], changes: &mut Vec<Operation>) {
    let mut old = before.iter().peekable();
    for (index, item) in after.iter().enumerate() {
        let path = format!("{path}/{index}");
        match old.next_if(|old| is_same_item(old, item)) {
            Some(old) => values(&path, old, item, changes),
            None => changes.push(Operation::Add {
                path,
                value: item.clone(),
            }),
        }
    }
}

/// Items of Kubernetes' lists are told apart by their names.
fn is_same_item(one: &Value, other: &Value) -> bool {
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    one == other || name(one).is_some_and(|one| name(other) == Some(one))
}

fn member(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn applied(before: &Value, changes: &[Operation]) -> Value {
        let patch = serde_json::to_value(changes).expect("operations");
        let patch: json_patch::Patch = serde_json::from_value(patch).expect("a JSON Patch");
        let mut value = before.clone();
        json_patch::patch(&mut value, &patch).expect("the changes apply");
        value
    }

    #[test]
    fn a_container_is_put_in_between_and_no_other_is_written_again() {
        let before = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}]});
        let after =
            json!({"containers": [{"name": "a", "image": "2"}, {"name": "p"}, {"name": "b"}]});
        let changes = diff(&before, &after);
        assert_eq!(
            serde_json::to_value(&changes).expect("operations"),
            json!([
                {"op": "replace", "path": "/containers/0/image", "value": "2"},
                {"op": "add", "path": "/containers/1", "value": {"name": "p"}},
            ])
        );
        assert_eq!(applied(&before, &changes), after);
    }

    #[test]
    fn names_with_slashes_and_tildes_are_escaped() {
        let before = json!({"annotations": {}});
        let after = json!({"annotations": {"a/b~c": "1"}});
        let changes = diff(&before, &after);
        assert_eq!(applied(&before, &changes), after);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u8>().prop_map(Value::from),
            "[a-c/~]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]|name", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_difference_makes_one_of_the_other(before in json(), after in json()) {
            prop_assert_eq!(applied(&before, &diff(&before, &after)), after);
        }
    }
}
