//! STS, which answers in XML: two operations are implemented.

use crate::shape_check;
use serde_json::{Value, json};
use tombolo_tests::{
    Server,
    http::{Answer, Connection, Request},
    model::{Model, Operation, Shape},
};

/// The operations that are there, with their parameters. In development mode any token gets keys.
const OFFERED: &[(&str, &str)] = &[
    ("GetCallerIdentity", ""),
    (
        "AssumeRoleWithWebIdentity",
        "&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fr&RoleSessionName=me&WebIdentityToken=token",
    ),
];
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
        let offered = OFFERED.iter().find(|(name, _)| *name == operation.name);
        let parameters = offered.map_or("", |(_, parameters)| parameters);
        let form = format!("Action={}&Version={VERSION}{parameters}", operation.name);
        let answer = connection.send(&Request::sts(&form)).expect("an answer");
        let flaws = match offered {
            Some(_) => answer_flaws(operation, &answer),
            None => refusal_flaws(&answer),
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

/// The members of a structure of texts, times and structures.
fn members(shape: Shape<'_>, result: &str) -> Value {
    let mut value = json!({});
    for member in shape.members() {
        if let Some(text) = element(result, member.name) {
            value[member.name] = match member.shape.kind() {
                "structure" => members(member.shape, text),
                // JSON has numbers for times; here they are texts like 2026-01-01T00:00:00Z.
                "timestamp" if text.len() == 20 && text.ends_with('Z') => 0.into(),
                _ => text.into(),
            };
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
