//! Tests of the suite itself, on a model of one operation: it finds every rule, violates each in one place, finds the
//! violations in answers too, and reports servers that accept everything or nothing.

use crate::{
    build::Builder,
    change::{self, Change},
    constraint::{self, Rule, show},
    fixture::Fixture,
    shape_check,
    suite::Suite,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};
use tombolo_tests::model::Model;

fn model() -> Model {
    Model::new(json!({
        "metadata": {"protocol": "json"},
        "operations": {"Put": {
            "name": "Put",
            "http": {"method": "POST", "requestUri": "/"},
            "input": {"shape": "Thing"},
            "output": {"shape": "Thing"},
        }},
        "shapes": {
            "Thing": {"type": "structure", "required": ["name"], "members": {
                "name": {"shape": "Name"},
                "color": {"shape": "Color"},
                "count": {"shape": "Count"},
                "total": {"shape": "Total"},
                "isNew": {"shape": "Flag"},
                "at": {"shape": "Place"},
                "labels": {"shape": "Labels"},
                "parts": {"shape": "Parts"},
            }},
            "Name": {"type": "string", "min": 2, "max": 5},
            "Color": {"type": "string", "enum": ["red", "blue"]},
            "Count": {"type": "integer", "min": 1, "max": 9},
            "Total": {"type": "long"},
            "Flag": {"type": "boolean"},
            "Place": {"type": "structure", "union": true, "members": {
                "here": {"shape": "Name"},
                "there": {"shape": "Name"},
            }},
            "Labels": {"type": "map", "key": {"shape": "Name"}, "value": {"shape": "Name"}, "max": 3},
            "Parts": {"type": "list", "member": {"shape": "Name"}, "min": 1, "max": 2},
        },
    }))
}

#[test]
fn every_rule_is_seen() {
    let model = model();
    let all = constraint::all(model.operation("Put"));
    let of = |path: &str| -> Vec<String> {
        let here = all.iter().filter(|c| show(&c.place.path) == path);
        here.map(|constraint| constraint.rule.to_string()).collect()
    };
    assert_eq!(of("name"), ["required", "type", "min 2", "max 5"]);
    assert_eq!(of("color"), ["type", "enum"]);
    assert_eq!(of("count"), ["type", "whole", "min 1", "max 9"]);
    assert_eq!(of("total"), ["type", "whole", "width"]);
    assert_eq!(of("isNew"), ["type"]);
    assert_eq!(of("at"), ["type", "no member", "two members"]);
    assert_eq!(of("at.there"), ["type", "min 2", "max 5"]);
    assert_eq!(of("labels"), ["type", "max 3"]);
    assert_eq!(of("labels{key}"), ["min 2", "max 5"]);
    assert_eq!(of("labels{value}"), ["type", "min 2", "max 5"]);
    assert_eq!(of("parts"), ["type", "min 1", "max 2"]);
    assert_eq!(of("parts[0]"), ["type", "min 2", "max 5"]);
}

#[test]
fn what_is_broken_does_not_fit_and_what_is_kept_does() {
    let model = model();
    let operation = model.operation("Put");
    let shape = operation.input().expect("it has one");
    let tables = json!({});
    let builder = Builder::new(&tables);
    for constraint in constraint::all(operation) {
        let legal = builder.input(operation, &constraint.place.path);
        let what = format!("{} {}", show(&constraint.place.path), constraint.rule);
        assert!(
            change::is_at(&legal, &constraint.place.path),
            "{what}: {legal}"
        );
        assert_eq!(shape_check::misfits(shape, &legal), [""; 0], "{what}");
        for Change { name, input } in constraint.kept(&builder, &legal) {
            assert_eq!(
                shape_check::misfits(shape, &input),
                [""; 0],
                "{what} {name}: {input}"
            );
        }
        let broken = constraint.broken(&builder, &legal);
        assert!(!broken.is_empty(), "{what}");
        for Change { name, input } in broken {
            assert_eq!(name, constraint.rule.name());
            let misfits = shape_check::misfits(shape, &input);
            assert!(!misfits.is_empty(), "{what}: {input}");
            // A list or map that is too long may contain more than one violation.
            let is_one = misfits.len() == 1 || matches!(constraint.rule, Rule::Max(_));
            assert!(is_one, "{what}: {misfits:?}");
        }
    }
}

#[test]
fn answers_have_no_members_of_their_own() {
    let model = model();
    let shape = model.shape("Thing");
    let misfits = |value: Value| shape_check::misfits(shape, &value);
    assert_eq!(misfits(json!({"name": "ab"})), [""; 0]);
    let stranger = misfits(json!({"name": "ab", "other": 1}));
    assert_eq!(stranger, [".other: Thing has no such member"]);
    assert_eq!(misfits(json!({})), [".name: is missing"]);
    assert_eq!(misfits(json!({"name": null})), [".name: null is no string"]);
}

/// A server's function from a body to a status and another body.
type Answer = fn(&[u8]) -> (u16, Vec<u8>);

/// A server for one connection.
fn serve(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        let mut reader = BufReader::new(stream);
        while let Some(body) = read_request(&mut reader) {
            let (status, body) = answer(&body);
            let head = format!(
                "HTTP/1.1 {status} -\r\ncontent-length: {}\r\ncontent-type: application/x-amz-json-1.1\r\n\
                 x-amzn-requestid: 1\r\n\r\n",
                body.len()
            );
            let bytes = [head.as_bytes(), &body].concat();
            reader.get_mut().write_all(&bytes)?;
        }
        Ok::<(), std::io::Error>(())
    });
    address
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

#[test]
fn a_server_that_takes_everything_breaks_every_rule() {
    let model = model();
    let tables = json!({"refusals": {"default": ["Invalid"]}});
    let address = serve(|body| (200, body.to_vec()));
    let mut suite = Suite::new(Fixture::new(address, &model, &tables));
    suite.run();
    let failures = suite.report.failures();
    let failed: BTreeSet<(String, String)> = failures
        .iter()
        .map(|failure| (failure.path.clone(), failure.constraint.clone()))
        .collect();
    for constraint in constraint::all(model.operation("Put")) {
        let rule = (show(&constraint.place.path), constraint.rule.to_string());
        assert!(failed.contains(&rule), "{rule:?}");
    }
    // It echoes the input, so only these fail: input that is not JSON, and unknown members.
    let others = failures
        .iter()
        .filter(|f| ["legal", "at min", "at max", "word"].contains(&&*f.constraint));
    assert_eq!(others.count(), 0);
    assert!(failures.iter().any(|f| f.constraint == "body"));
    assert!(suite.report.unreached.is_empty());
}

#[test]
fn a_server_that_takes_nothing_reaches_nothing() {
    let model = model();
    let tables = json!({"refusals": {"default": ["Invalid"]}});
    let address = serve(|_| (400, br#"{"__type":"Invalid","message":"no"}"#.to_vec()));
    let mut suite = Suite::new(Fixture::new(address, &model, &tables));
    suite.run();
    let count = constraint::all(model.operation("Put")).len();
    assert_eq!(
        suite.report.unreached.len(),
        count + 1,
        "the operation as well"
    );
    assert_eq!(
        (suite.report.answered.len(), suite.report.constraints),
        (0, 0)
    );
}
