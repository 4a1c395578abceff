use super::{read, write};
use crate::{Limits, SyntaxError};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tombolo_model::FieldPath;

fn one(text: &str) -> Value {
    let (documents, error) = read(text, &Limits::default());
    assert_eq!(error, None, "{text}");
    assert_eq!(documents.len(), 1, "{text}");
    documents.into_iter().next().expect("one").value
}

fn refused(text: &str, limits: Limits) -> SyntaxError {
    read(text, &limits).1.expect("must be refused")
}

#[test]
fn lines_are_those_of_keys_and_items() {
    let (documents, _) = read(
        "a:\n  b:\n    - 1\n    - c: 2\n---\nd: 1\n",
        &Limits::default(),
    );
    let line = |document: usize, path: &str| documents[document].lines.of(&FieldPath::from(path));
    assert_eq!(line(0, "a"), 1);
    assert_eq!(line(0, "a.b[1].c"), 4);
    assert_eq!(line(0, "a.b[7].absent"), 2, "the nearest parent");
    assert_eq!(line(1, "d"), 6);
    let below = documents[0].lines.below(&FieldPath::from("a.b[1]"));
    assert_eq!(below.map(|lines| lines.of(&FieldPath::from("c"))), Some(4));
    assert_eq!(documents[0].lines.below(&FieldPath::from("a.x")), None);
}

#[test]
fn every_limit_is_kept_and_said_with_the_line() {
    let limits = Limits::default();
    for (text, limits, line) in [
        ("a: b", Limits { bytes: 3, ..limits }, 1),
        (
            "a: 1\n---\nb: 1\n",
            Limits {
                documents: 1,
                ..limits
            },
            2,
        ),
        ("a:\n  b:\n    c: 1", Limits { depth: 2, ..limits }, 3),
        ("- 1\n- 2\n- 3\n", Limits { nodes: 3, ..limits }, 3),
        (
            "a: &x [1, 2, 3]\nb: *x\n",
            Limits {
                nodes: 10,
                ..limits
            },
            2,
        ),
    ] {
        let error = refused(text, limits);
        assert_eq!(error.line, line, "{text}: {error}");
    }
}

#[test]
fn aliases_cannot_ask_for_more_than_the_limit() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..30 {
        let alias = format!("*a{}", n - 1);
        text += &format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    assert!(
        refused(&text, Limits::default())
            .message
            .contains("aliases included")
    );
}

#[test]
fn texts_that_look_like_something_else_are_quoted() {
    for text in [
        "1",
        "0777",
        "1e3",
        "true",
        "Yes",
        "off",
        "null",
        "~",
        "",
        " x",
        "x ",
        "a: b",
        "- a",
        "#x",
        "&x",
        "*x",
        "!x",
        "a\nb",
        "\u{7}",
        "\u{feff}",
        "2026-11-30",
        "0x10",
        "=",
        "<<",
        "é",
    ] {
        let value = json!({"text": text, "list": [text, [text]], text: {"empty": {}, "none": []}});
        assert_eq!(one(&write(&value)), value, "{}", write(&value));
    }
    assert_eq!(write(&json!({"a": "plain"})), "a: plain\n");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|float: f64| json!(float)),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[ -~]{0,6}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same_value(value in value()) {
        prop_assert_eq!(one(&write(&value)), value);
    }
}
