//! Objects as YAML, as `-o yaml` prints them.

use saphyr::{Scalar, Yaml, YamlEmitter};
use serde_json::Value;

/// A value as a YAML document without its leading `---`; ends with a line feed.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    YamlEmitter::new(&mut text)
        .dump(&tree(value))
        .expect("writing to a string does not fail");
    let body = text.strip_prefix("---\n").unwrap_or(&text);
    format!("{}\n", body.trim_end_matches('\n'))
}

fn tree(value: &Value) -> Yaml<'_> {
    let scalar = match value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Scalar::Integer(whole),
            (None, Some(fraction)) => Scalar::FloatingPoint(fraction.into()),
            (None, None) => Scalar::String(number.to_string().into()),
        },
        Value::String(text) => Scalar::String(text.as_str().into()),
        Value::Array(items) => return Yaml::Sequence(items.iter().map(tree).collect()),
        Value::Object(members) => {
            let key = |key: &'_ str| Yaml::Value(Scalar::String(key.to_owned().into()));
            return Yaml::Mapping(members.iter().map(|(k, v)| (key(k), tree(v))).collect());
        }
    };
    Yaml::Value(scalar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_that_look_like_numbers_are_quoted() {
        let value = json!({"a": [1, "two", true, null], "b": {"c": "yes", "d": "1", "e": 1.5}});
        let text = yaml(&value);
        assert!(text.starts_with("a:\n"), "{text}");
        assert!(
            text.contains("\"1\""),
            "a number in quotes stays a text: {text}"
        );
    }
}
