//! JSON merge patches (RFC 7396).

use serde_json::{Map, Value};

/// The patch that makes `old` equal to `new`; `None` if it is.
pub(super) fn merge(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (member, value) in new {
        match old.get(member) {
            Some(before) => {
                if let Some(difference) = merge(before, value) {
                    patch.insert(member.clone(), difference);
                }
            }
            None => drop(patch.insert(member.clone(), value.clone())),
        }
    }
    for member in old.keys().filter(|member| !new.contains_key(*member)) {
        patch.insert(member.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_names_what_differs_and_removes_what_is_gone() {
        let old =
            json!({"a": 1, "routeARNs": {"x": "1", "y": "2"}, "conditions": [{"s": "False"}]});
        assert_eq!(merge(&old, &old), None);
        let new = json!({"a": 1, "routeARNs": {"y": "3"}, "conditions": [{"s": "True"}]});
        assert_eq!(
            merge(&old, &new),
            Some(json!({"routeARNs": {"y": "3", "x": null}, "conditions": [{"s": "True"}]}))
        );
        assert_eq!(merge(&Value::Null, &new), Some(new));
    }
}
