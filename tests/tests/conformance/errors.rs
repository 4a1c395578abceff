//! Every error of every operation: provoked by a scenario, or listed as impossible.

use crate::{
    build::merge,
    fixture::Exchange,
    report::Failure,
    suite::{Suite, summary},
};
use serde_json::Value;
use tombolo_tests::model::Operation;

/// Runs the scenarios, then reports errors that none has provoked.
pub(crate) fn run(suite: &mut Suite<'_>) {
    for table in ["rules", "scenarios"] {
        let scenarios = suite.fixture.tables[table].as_array();
        for scenario in scenarios.into_iter().flatten() {
            for name in names(&scenario["operation"]) {
                play(suite, suite.fixture.model.operation(name), scenario);
            }
        }
    }
    for operation in suite.fixture.model.operations() {
        for error in operation.errors() {
            account(suite, operation, error);
        }
    }
}

/// Makes a call that must fail with the scenario's error, or succeed when it names none.
fn play(suite: &mut Suite<'_>, operation: Operation<'_>, scenario: &Value) {
    let error = scenario["error"].as_str();
    let expected = error.unwrap_or("an answer");
    let mut input = suite.fixture.builder.input(operation, &[]);
    merge(&mut input, &scenario["input"]);
    let result = match suite.fixture.steps(&scenario["before"]) {
        Ok(()) => suite.call(operation, &input),
        Err(why) => Err(why),
    };
    match result {
        Err(why) => suite.fail(operation, "", "scenario", &input, expected, &why),
        Ok(exchange) => {
            let flaws = match error {
                None => suite.answer_flaws(operation, &exchange),
                Some(error) => refusal_flaws(suite, operation, &exchange, error, scenario),
            };
            if !flaws.is_empty() {
                let flaws = flaws.join("; ");
                suite.fail(operation, "", "scenario", &exchange.sent, expected, &flaws);
            }
        }
    }
    if let Err(why) = suite.fixture.steps(&scenario["after"]) {
        suite.fail(operation, "", "after scenario", &input, "no error", &why);
    }
}

fn refusal_flaws(
    suite: &mut Suite<'_>,
    operation: Operation<'_>,
    exchange: &Exchange,
    error: &str,
    scenario: &Value,
) -> Vec<String> {
    let reply = &exchange.reply;
    let says = scenario["says"].as_str().unwrap_or_default();
    if reply.code() != error || !reply.message().contains(says) {
        return vec![summary(exchange)];
    }
    let mut flaws = suite.error_flaws(operation, exchange);
    // Members of this error only.
    for (member, value) in scenario["with"].as_object().into_iter().flatten() {
        let expected = suite.fixture.resolve(value);
        if reply.body[member] != expected {
            flaws.push(format!("{member} is not {expected}: {}", reply.body));
        }
    }
    flaws
}

/// Checks that an error was either seen, or is listed as impossible.
fn account(suite: &mut Suite<'_>, operation: Operation<'_>, error: &str) {
    let unprovoked = suite.fixture.tables["unprovoked"].as_array();
    let listed = unprovoked.into_iter().flatten().find(|entry| {
        assert!(entry["reason"].is_string(), "no reason: {entry}");
        let operations = &entry["operation"];
        let is_meant = operations.is_null() || names(operations).contains(&operation.name);
        is_meant && names(&entry["error"]).contains(&error)
    });
    let seen = suite.report.has_refused(operation.name, error);
    let (expected, got) = match (seen, listed) {
        (false, None) => ("a scenario that provokes it", "none"),
        (true, Some(_)) => ("never, says the table", "seen"),
        (false, Some(entry)) => {
            let why = format!(
                "{error}, because {}",
                entry["reason"].as_str().unwrap_or_default()
            );
            let operations = suite.report.unprovoked.entry(why).or_default();
            operations.insert(operation.name.to_owned());
            return;
        }
        (true, None) => return,
    };
    suite.report.fail(Failure {
        operation: operation.name.to_owned(),
        path: String::new(),
        constraint: error.to_owned(),
        sent: String::new(),
        expected: expected.into(),
        got: got.into(),
    });
}

fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}
