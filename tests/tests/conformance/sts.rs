//! STS, which answers in XML: one operation is implemented.

use crate::shape_check;
use serde_json::{Value, json};
use tombolo_tests::{
    Server,
    http::{Answer, Connection, Request},
    model::{Model, Operation, Shape},
};

/// The implemented operation. Keys come from the credentials file, so there are no sessions.
const OFFERED: &str = "GetCallerIdentity";
const VERSION: &str = "2011-06-15";

#[test]
fn sts_conforms_to_its_model() {
    let Some(model) = Model::load("sts", VERSION) else {
        return;
    };
    let Some(server) = Server::start() else {
        return;
    };
    assert_eq!(model.protocol(), "query");
    let mut connection = Connection::open(server.api()).expect("the server listens");
    let mut failures = Vec::new();
    for operation in model.operations() {
        let form = format!("Action={}&Version={VERSION}", operation.name);
        let answer = connection.send(&Request::sts(&form)).expect("an answer");
        let flaws = match operation.name {
            OFFERED => answer_flaws(operation, &answer),
            _ => refusal_flaws(&answer),
        };
        failures.extend(flaws.map(|flaw| format!("{}: {flaw}: {}", operation.name, answer.text())));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn answer_flaws(operation: Operation<'_>, answer: &Answer) -> Option<String> {
    let text = answer.text();
    let output = operation.output().expect("it has an output");
    let whole = element(&text, &format!("{}Response", operation.name));
    let Some(result) = whole.and_then(|whole| element(whole, &format!("{}Result", operation.name)))
    else {
        return Some("there is no result".into());
    };
    if answer.status != operation.status() || element(&text, "RequestId").is_none() {
        return Some(format!("status {}, or no RequestId", answer.status));
    }
    let misfits = shape_check::misfits(output, &members(output, result));
    (!misfits.is_empty()).then(|| misfits.join("; "))
}

fn refusal_flaws(answer: &Answer) -> Option<String> {
    let text = answer.text();
    let error = element(&text, "ErrorResponse").and_then(|whole| element(whole, "Error"));
    let code = error.and_then(|error| element(error, "Code"));
    let is_right = answer.status == 400 && code == Some("InvalidAction");
    (!is_right).then(|| "it is not refused with InvalidAction".into())
}

/// The members of a structure of texts.
fn members(shape: Shape<'_>, result: &str) -> Value {
    let mut value = json!({});
    for member in shape.members() {
        if let Some(text) = element(result, member.name) {
            value[member.name] = text.into();
        }
    }
    value
}

/// The text of the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}"))?;
    let (_, rest) = rest.split_once('>')?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner)
}
