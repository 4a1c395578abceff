use super::*;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Deserialize)]
struct Outer {
    name: String,
    #[serde(default)]
    inner: Option<Inner>,
    #[serde(default)]
    list: Vec<Inner>,
    #[serde(default)]
    map: BTreeMap<String, Inner>,
    #[serde(default)]
    union: Option<Union>,
    #[serde(default)]
    anything: Value,
    #[serde(default)]
    ratio: Option<f64>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    #[serde(default)]
    size: Option<u8>,
}

#[derive(Debug, PartialEq, Deserialize)]
enum Union {
    Nothing,
    Inner(Inner),
    Pair(u8, u8),
    Members { size: u8 },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closed {
    #[serde(default)]
    #[allow(dead_code)]
    inner: Option<BTreeMap<String, Closed>>,
}

fn refused<T: DeserializeOwned + fmt::Debug>(value: &Value) -> DecodeError {
    decode::<T>(value).expect_err("must be refused")
}

#[test]
fn values_decode_as_serde_json_decodes_them() {
    for value in [
        json!({"name": "x"}),
        json!({"name": "x", "inner": null, "ratio": 2}),
        json!({"name": "x", "inner": {"size": 255}, "ratio": -0.5}),
        json!({"name": "x", "list": [{"size": 1}, {}], "map": {"k": {"size": 2}}}),
        json!({"name": "x", "union": "Nothing"}),
        json!({"name": "x", "union": {"Inner": {"size": 4}}}),
        json!({"name": "x", "union": {"Pair": [1, 2]}}),
        json!({"name": "x", "union": {"Members": {"size": 4}}}),
        json!({"name": "x", "anything": [1, [-2], {"three": 3.5}, null, true]}),
    ] {
        let expected: Outer = serde_json::from_value(value.clone()).expect("legal");
        let decoded = decode::<Outer>(&value).expect("legal");
        assert_eq!(decoded.value, expected);
        assert_eq!(decoded.unknown, []);
    }
}

#[test]
fn errors_name_the_field_in_the_words_of_serde_json() {
    for (value, field) in [
        (json!({}), ""),
        (json!({"name": 1}), "name"),
        (json!({"name": null}), "name"),
        (json!({"name": 1.5}), "name"),
        (json!({"name": "x", "inner": {"size": 256}}), "inner.size"),
        (json!({"name": "x", "inner": {"size": -1}}), "inner.size"),
        (json!({"name": "x", "inner": 3}), "inner"),
        (json!({"name": "x", "list": {}}), "list"),
        (
            json!({"name": "x", "list": [{}, {"size": "1"}]}),
            "list[1].size",
        ),
        (
            json!({"name": "x", "map": {"a.b": {"size": "1"}}}),
            "map[a.b].size",
        ),
        (json!({"name": "x", "union": "Nobody"}), "union"),
        (json!({"name": "x", "union": 7}), "union"),
        (json!({"name": "x", "union": {}}), "union"),
        (json!({"name": "x", "union": "Inner"}), "union"),
        (
            json!({"name": "x", "union": {"Inner": {"size": "1"}}}),
            "union.Inner.size",
        ),
        (
            json!({"name": "x", "union": {"Members": {}}}),
            "union.Members",
        ),
        (json!({"name": "x", "union": {"Pair": [1]}}), "union.Pair"),
        (
            json!({"name": "x", "union": {"Pair": [1, 2, 3]}}),
            "union.Pair",
        ),
    ] {
        let expected = serde_json::from_value::<Outer>(value.clone()).expect_err("must be refused");
        let error = refused::<Outer>(&value);
        assert_eq!(error.message, expected.to_string(), "{value}");
        assert_eq!(error.field.to_string(), field, "{value}");
    }
}

#[test]
fn an_array_is_no_structure_at_any_depth() {
    for value in [
        json!(["x"]),
        json!({"name": "x", "inner": [1]}),
        json!({"name": "x", "inner": []}),
        json!({"name": "x", "list": [[1]]}),
        json!({"name": "x", "map": {"k": [1]}}),
        json!({"name": "x", "union": {"Inner": [1]}}),
        json!({"name": "x", "union": {"Members": [1]}}),
    ] {
        let error = refused::<Outer>(&value);
        assert!(
            error.message.starts_with("invalid type: sequence"),
            "{error}"
        );
        assert!(error.is_wrong_type, "{value}");
    }
}

#[test]
fn a_wrong_type_is_told_from_a_value_that_is_missing_or_out_of_range() {
    for (value, is_wrong_type) in [
        (json!({}), false),
        (json!({"name": null}), false),
        (json!({"name": "x", "inner": {"size": 256}}), false),
        (json!({"name": "x", "union": "Nobody"}), false),
        (json!({"name": true}), true),
        (json!({"name": "x", "inner": {"size": "1"}}), true),
        (json!({"name": "x", "list": 1}), true),
    ] {
        assert_eq!(
            refused::<Outer>(&value).is_wrong_type,
            is_wrong_type,
            "{value}"
        );
    }
}

#[test]
fn unknown_fields_are_reported_once_with_their_paths() {
    let value = json!({
        "name": "x", "colour": {"deep": [1, 2]},
        "list": [{}, {"size": 1, "sise": 2}],
        "map": {"k": {"other": null}},
        "anything": {"is": "known"},
        "union": {"Members": {"size": 1, "extra": 1}}
    });
    let decoded = decode::<Outer>(&value).expect("legal");
    let unknown: Vec<String> = decoded.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        unknown,
        [
            "colour",
            "list[1].sise",
            "map.k.other",
            "union.Members.extra"
        ]
    );
}

#[test]
fn a_field_that_a_type_forbids_is_named() {
    let error = refused::<Closed>(&json!({"inner": {"a": {"b": 1}}}));
    assert_eq!(
        error.to_string(),
        "inner.a.b: unknown field `b`, expected `inner`"
    );
}
