//! Failures and coverage.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// Maximum characters of an input or an answer that are shown.
const SHOWN: usize = 240;

/// A failed case.
pub(crate) struct Failure {
    /// The operation.
    pub(crate) operation: String,
    /// The place in its input.
    pub(crate) path: String,
    /// The tested constraint.
    pub(crate) constraint: String,
    /// The input.
    pub(crate) sent: String,
    /// The expected answer.
    pub(crate) expected: String,
    /// The actual answer.
    pub(crate) got: String,
}

/// Collects results.
#[derive(Default)]
pub(crate) struct Report {
    failures: Vec<Failure>,
    /// Operations that have succeeded.
    pub(crate) answered: BTreeSet<String>,
    /// Error codes of each operation.
    pub(crate) refused: BTreeMap<String, BTreeSet<String>>,
    /// Constraints that were not tested.
    pub(crate) unreached: Vec<String>,
    /// Errors that a server alone cannot produce, with the reasons.
    pub(crate) unprovoked: BTreeMap<String, BTreeSet<String>>,
    /// Calls made.
    pub(crate) calls: usize,
    /// Lists that were read in pages.
    pub(crate) paged: usize,
    /// Operations that were repeated with their token.
    pub(crate) repeated: usize,
    /// Tested constraints.
    pub(crate) constraints: usize,
}

impl Report {
    /// Records a failure.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    /// The failures so far.
    pub(crate) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Records an error of an operation.
    pub(crate) fn refused(&mut self, operation: &str, code: &str) {
        let codes = self.refused.entry(operation.to_owned()).or_default();
        codes.insert(code.to_owned());
    }

    /// Whether an operation has answered with this error.
    pub(crate) fn has_refused(&self, operation: &str, code: &str) -> bool {
        let codes = self.refused.get(operation);
        codes.is_some_and(|codes| codes.contains(code))
    }

    /// Prints everything; panics when there are failures.
    #[track_caller]
    pub(crate) fn finish(self, service: &str) {
        println!(
            "{service}: {} calls, {} operations, {} constraints, {} errors of operations, \
             {} lists in pages, {} operations repeated",
            self.calls,
            self.answered.len(),
            self.constraints,
            self.refused.values().map(BTreeSet::len).sum::<usize>(),
            self.paged,
            self.repeated,
        );
        for (why, operations) in &self.unprovoked {
            let operations: Vec<&str> = operations.iter().map(String::as_str).collect();
            println!("not provoked: {why}: {}", operations.join(", "));
        }
        let mut table = String::new();
        for unreached in &self.unreached {
            writeln!(table, "not reached: {unreached}").expect("strings take everything");
        }
        for failure in &self.failures {
            let Failure {
                operation,
                path,
                constraint,
                sent,
                expected,
                got,
            } = failure;
            let line = writeln!(
                table,
                "{operation} | {path} | {constraint} | sent {} | expected {expected} | got {}",
                cut(sent),
                cut(got)
            );
            line.expect("strings take everything");
        }
        let count = self.failures.len();
        assert!(
            table.is_empty(),
            "{count} failures\noperation | path | constraint | sent | expected | got\n{table}"
        );
    }
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
