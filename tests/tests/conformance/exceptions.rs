//! Justified deviations of a server from the model. Each exception has a reason, and an unused one is a failure.

use crate::{constraint::Constraint, wire::Reply};
use serde_json::Value;
use tombolo_tests::model::Operation;

/// The exceptions of a service.
pub(crate) struct Exceptions<'a> {
    all: Vec<(&'a Value, bool)>,
    answers: Vec<(&'a Value, bool)>,
}

impl<'a> Exceptions<'a> {
    /// The exceptions in the tables of a service.
    pub(crate) fn new(tables: &'a Value) -> Self {
        let table = |name: &str| -> Vec<(&'a Value, bool)> {
            let all = tables[name].as_array().into_iter().flatten();
            let all: Vec<_> = all.map(|exception| (exception, false)).collect();
            for (exception, _) in &all {
                assert!(exception["reason"].is_string(), "no reason: {exception}");
            }
            all
        };
        Self {
            all: table("exceptions"),
            answers: table("answers"),
        }
    }

    /// Whether this deviation of an answer from its shape is an exception.
    pub(crate) fn excuse_answer(&mut self, misfit: &str) -> bool {
        let mut answers = self.answers.iter_mut();
        let excuse = answers.find(|(exception, _)| {
            let part = exception["misfit"].as_str();
            misfit.contains(part.expect("exceptions for answers name the misfit"))
        });
        excuse.is_some_and(|(_, is_used)| {
            *is_used = true;
            true
        })
    }

    /// Whether this reply to this change is an exception.
    pub(crate) fn excuse(
        &mut self,
        operation: Operation<'_>,
        constraint: &Constraint<'_>,
        change: &str,
        reply: &Reply,
    ) -> bool {
        let mut is_excused = false;
        for (exception, is_used) in &mut self.all {
            let fits = |which: &str, seen: &[&str]| match &exception[which] {
                Value::Null => true,
                Value::Array(words) => words.iter().any(|word| seen.iter().any(|s| word == s)),
                word => seen.iter().any(|s| word == s),
            };
            let got = if reply.is_ok() {
                "an answer"
            } else {
                reply.code()
            };
            let says = exception["says"].as_str();
            if fits("operation", &[operation.name])
                && fits("at", &[&constraint.place.spot, constraint.place.shape.name])
                && fits("change", &[change])
                && fits("got", &[got])
                && says.is_none_or(|says| reply.message().contains(says))
            {
                *is_used = true;
                is_excused = true;
            }
        }
        is_excused
    }

    /// The unused exceptions.
    pub(crate) fn unused(&self) -> Vec<String> {
        let all = self.all.iter().chain(&self.answers);
        let unused = all.filter(|(_, is_used)| !is_used);
        unused.map(|(exception, _)| exception.to_string()).collect()
    }
}
