//! The cases that follow from a model.

use crate::{
    change::{self, Change},
    constraint::{self, Constraint, show},
    echo,
    exceptions::Exceptions,
    fixture::{Exchange, Fixture},
    report::{Failure, Report},
    shape_check, wire,
};
use serde_json::Value;
use std::collections::BTreeMap;
use tombolo_tests::model::Operation;

/// Bodies that are not JSON objects.
const BAD_BODIES: [&str; 6] = ["[]", "\"text\"", "null", "{", "{\"a\" 1}", "\u{1}"];
/// The error for them.
const BAD_BODY: &str = "SerializationException";

/// Runs the cases of a service.
pub(crate) struct Suite<'a> {
    /// The server.
    pub(crate) fixture: Fixture<'a>,
    /// The results.
    pub(crate) report: Report,
    exceptions: Exceptions<'a>,
    /// Valid inputs that were sent, and whether they succeeded.
    legal: BTreeMap<(String, String), bool>,
}

impl<'a> Suite<'a> {
    /// A suite on this fixture.
    pub(crate) fn new(fixture: Fixture<'a>) -> Self {
        Self {
            exceptions: Exceptions::new(fixture.tables),
            report: Report::default(),
            legal: BTreeMap::new(),
            fixture,
        }
    }

    /// Runs every operation with its smallest valid input, and with every constraint of every input violated and just
    /// satisfied.
    pub(crate) fn run(&mut self) {
        for operation in self.fixture.model.operations() {
            let input = self.fixture.builder.input(operation, &[]);
            if self.is_legal(operation, "", &input) {
                self.report.answered.insert(operation.name.to_owned());
            } else {
                self.report.unreached.push(operation.name.to_owned());
            }
            for constraint in constraint::all(operation) {
                self.check(operation, &constraint);
            }
            if wire::has_body(operation) {
                self.check_bodies(operation, &input);
            }
        }
    }

    /// Sends bodies that are not JSON objects.
    fn check_bodies(&mut self, operation: Operation<'_>, input: &Value) {
        for raw in BAD_BODIES {
            let exchange = self.fixture.send_raw(operation, input, Some(raw));
            self.report.calls += 1;
            let reply = &exchange.reply;
            let mut flaws = self.error_flaws(operation, &exchange);
            if reply.is_ok() || reply.code() != BAD_BODY {
                flaws = vec![summary(&exchange)];
            }
            if !flaws.is_empty() {
                let got = flaws.join("; ");
                self.fail(operation, "", "body", &Value::from(raw), BAD_BODY, &got);
            }
        }
    }

    fn check(&mut self, operation: Operation<'_>, constraint: &Constraint<'_>) {
        let path = show(&constraint.place.path);
        let legal = self
            .fixture
            .builder
            .input(operation, &constraint.place.path);
        if !change::is_at(&legal, &constraint.place.path) {
            let what = "the tables remove this place from the input";
            self.fail(
                operation,
                &path,
                &constraint.rule.to_string(),
                &legal,
                "a place",
                what,
            );
            return;
        }
        if !self.is_legal(operation, &path, &legal) {
            let unreached = format!("{} {path} {}", operation.name, constraint.rule);
            self.report.unreached.push(unreached);
            return;
        }
        self.report.constraints += 1;
        for change in constraint.kept(&self.fixture.builder, &legal) {
            self.check_kept(operation, constraint, &path, &change);
        }
        for change in constraint.broken(&self.fixture.builder, &legal) {
            self.check_broken(operation, constraint, &path, &change);
        }
    }

    /// Whether this valid input succeeds. Each input is sent once, and reported once.
    fn is_legal(&mut self, operation: Operation<'_>, path: &str, input: &Value) -> bool {
        let key = (operation.name.to_owned(), input.to_string());
        if let Some(is_legal) = self.legal.get(&key) {
            return *is_legal;
        }
        let expected = operation.status().to_string();
        let is_legal = match self.call(operation, input) {
            Err(why) => {
                self.fail(operation, path, "legal", input, &expected, &why);
                false
            }
            Ok(exchange) => match self.answer_flaws(operation, &exchange) {
                flaws if flaws.is_empty() => true,
                flaws => {
                    let flaws = flaws.join("; ");
                    self.fail(operation, path, "legal", &exchange.sent, &expected, &flaws);
                    exchange.reply.is_ok()
                }
            },
        };
        self.legal.insert(key, is_legal);
        is_legal
    }

    fn check_kept(
        &mut self,
        operation: Operation<'_>,
        constraint: &Constraint<'_>,
        path: &str,
        change: &Change,
    ) {
        let exchange = match self.call(operation, &change.input) {
            Ok(exchange) => exchange,
            Err(why) => {
                let name = change.name;
                self.fail(operation, path, name, &change.input, "an answer", &why);
                return;
            }
        };
        let mut flaws = if exchange.reply.is_ok() {
            self.answer_flaws(operation, &exchange)
        } else {
            self.error_flaws(operation, &exchange)
        };
        // A name of 255 characters may be refused because it does not exist, but not for its length.
        let code = exchange.reply.code();
        let elsewhere = self.fixture.tables["elsewhere"].as_array();
        let is_elsewhere = elsewhere.is_some_and(|codes| codes.iter().any(|c| c == code));
        let is_excepted = !exchange.reply.is_ok()
            && self
                .exceptions
                .excuse(operation, constraint, change.name, &exchange.reply);
        if !exchange.reply.is_ok() && !is_elsewhere && !is_excepted {
            flaws.push(summary(&exchange));
        }
        if !flaws.is_empty() {
            let (sent, flaws) = (&exchange.sent, flaws.join("; "));
            self.fail(
                operation,
                path,
                change.name,
                sent,
                "no refusal for this",
                &flaws,
            );
        }
    }

    fn check_broken(
        &mut self,
        operation: Operation<'_>,
        constraint: &Constraint<'_>,
        path: &str,
        change: &Change,
    ) {
        let refusals = &self.fixture.tables["refusals"];
        let of_rule = &refusals[change.name];
        let codes = if of_rule.is_null() {
            &refusals["default"]
        } else {
            of_rule
        };
        let is_expected = |code: &str| {
            let codes = codes.as_array().into_iter().flatten();
            codes.into_iter().any(|expected| expected == code)
        };
        let expected = codes.to_string();
        let rule = constraint.rule.to_string();
        let exchange = match self.call(operation, &change.input) {
            Ok(exchange) => exchange,
            Err(why) => {
                self.fail(operation, path, &rule, &change.input, &expected, &why);
                return;
            }
        };
        let reply = &exchange.reply;
        let is_right = !reply.is_ok() && is_expected(reply.code());
        if !is_right
            && !self
                .exceptions
                .excuse(operation, constraint, change.name, reply)
        {
            let got = summary(&exchange);
            self.fail(operation, path, &rule, &exchange.sent, &expected, &got);
            return;
        }
        let flaws = match reply.is_ok() {
            true => self.answer_flaws(operation, &exchange),
            false => self.error_flaws(operation, &exchange),
        };
        if !flaws.is_empty() {
            let flaws = flaws.join("; ");
            self.fail(
                operation,
                path,
                &rule,
                &exchange.sent,
                "the error's shape",
                &flaws,
            );
        }
    }

    /// Makes a call and records its error.
    pub(crate) fn call(
        &mut self,
        operation: Operation<'_>,
        input: &Value,
    ) -> Result<Exchange, String> {
        let exchange = self.fixture.call(operation, input)?;
        self.report.calls += 1;
        if !exchange.reply.is_ok() {
            self.report.refused(operation.name, exchange.reply.code());
        }
        Ok(exchange)
    }

    /// The deviations of an answer from the model.
    pub(crate) fn answer_flaws(
        &mut self,
        operation: Operation<'_>,
        exchange: &Exchange,
    ) -> Vec<String> {
        let reply = &exchange.reply;
        let mut flaws = reply.flaws.clone();
        if reply.status != operation.status() {
            flaws.push(summary(exchange));
            return flaws;
        }
        let misfits = match operation.output() {
            // Without an output shape an empty object is equivalent to nothing.
            None => Vec::new(),
            Some(output) => {
                let shape = output.payload().map_or(output, |payload| payload.shape);
                shape_check::misfits(shape, &reply.body)
            }
        };
        let may_have_more = self.fixture.tables["echo"] == "with more";
        let differences = echo::differences(operation, &exchange.sent, &reply.body, may_have_more);
        let misfits = misfits.into_iter().chain(differences);
        flaws.extend(misfits.filter(|misfit| !self.exceptions.excuse_answer(misfit)));
        flaws
    }

    /// The deviations of an error's envelope, whatever the error.
    pub(crate) fn error_flaws(&self, operation: Operation<'_>, exchange: &Exchange) -> Vec<String> {
        let reply = &exchange.reply;
        let mut flaws = reply.flaws.clone();
        let code = reply.code();
        if reply.header_code != reply.body_code {
            let (header, body) = (&reply.header_code, &reply.body_code);
            flaws.push(format!(
                "the code is {header:?} in the header and {body:?} in the body"
            ));
        }
        let common = self.fixture.tables["common errors"].as_object();
        let common = common
            .and_then(|codes| codes.get(code))
            .and_then(Value::as_u64);
        let is_modelled = operation.errors().any(|error| error == code);
        if !is_modelled && common.is_none() {
            flaws.push(format!("{code} is no error of this operation"));
            return flaws;
        }
        let fixed = self.fixture.tables["error status"]["status"].as_u64();
        let modelled = || self.fixture.model.shape(code).error_status().map(u64::from);
        let expected = common.or(fixed).or_else(modelled);
        if expected != Some(u64::from(reply.status)) {
            flaws.push(format!(
                "{code} has status {}, not {expected:?}",
                reply.status
            ));
        }
        if is_modelled {
            let mut body = reply.body.clone();
            if let Some(body) = body.as_object_mut() {
                body.shift_remove("__type");
            }
            flaws.extend(shape_check::misfits(self.fixture.model.shape(code), &body));
        }
        if reply.message().is_empty() {
            flaws.push("there is no message".into());
        }
        flaws
    }

    /// Records a failure.
    pub(crate) fn fail(
        &mut self,
        operation: Operation<'_>,
        path: &str,
        constraint: &str,
        sent: &Value,
        expected: &str,
        got: &str,
    ) {
        self.report.fail(Failure {
            operation: operation.name.to_owned(),
            path: path.to_owned(),
            constraint: constraint.to_owned(),
            sent: sent.to_string(),
            expected: expected.to_owned(),
            got: got.to_owned(),
        });
    }

    /// Finishes: everything must have been tested.
    #[track_caller]
    pub(crate) fn finish(mut self, service: &str) {
        for stale in self.exceptions.unused() {
            self.report.fail(Failure {
                operation: String::new(),
                path: String::new(),
                constraint: "exception".into(),
                sent: stale,
                expected: "a use of it".into(),
                got: "none: remove it".into(),
            });
        }
        self.report.finish(service);
    }
}

/// An answer in one line.
pub(crate) fn summary(exchange: &Exchange) -> String {
    let reply = &exchange.reply;
    format!("{} {} {}", reply.status, reply.code(), reply.body)
}
