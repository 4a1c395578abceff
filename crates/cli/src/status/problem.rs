//! What is wrong, in words.

use super::tables::{last_nack, proxy_name, state};
use crate::command::run::text;
use serde_json::{Value, json};
use std::{collections::HashSet, fmt::Write as _};
use tombolo_local::control::Status as RunStatus;

/// Something wrong, and the command that mends it or tells more; empty where there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) fix: String,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fix: fix.into(),
        }
    }
}

/// Everything that the run and its control plane say is wrong.
pub(super) fn all(run: Option<&RunStatus>, control_plane: Result<&Value, &String>) -> Vec<Problem> {
    let mut found = Vec::new();
    match control_plane {
        Ok(status) => of_control_plane(status, &mut found),
        Err(error) => found.push(Problem::new(
            format!("the control plane does not answer: {error}"),
            "",
        )),
    }
    if let Some(run) = run {
        of_run(run, &mut found);
    }
    let mut seen = HashSet::new();
    found.retain(|problem| seen.insert(problem.message.clone()));
    found
}

fn of_run(run: &RunStatus, found: &mut Vec<Problem>) {
    let findings = run.findings.iter();
    found.extend(findings.map(|finding| Problem::new(&finding.message, &finding.fix)));
    found.extend(run.mesh_problems.iter().map(|problem| {
        let place = match problem.namespace.as_str() {
            "" => format!("{} of {}", problem.object, problem.cluster),
            namespace => format!(
                "{} in namespace {namespace} of {}",
                problem.object, problem.cluster
            ),
        };
        Problem::new(format!("{place}: {}", problem.message), "")
    }));
    let unready = run
        .workloads
        .iter()
        .filter(|workload| workload.ready < workload.total);
    found.extend(unready.map(|workload| {
        let waiting = workload.waiting.as_deref();
        Problem::new(
            format!(
                "{} in namespace {} of {}: {}/{} ready: {}",
                workload.object,
                workload.namespace,
                workload.cluster,
                workload.ready,
                workload.total,
                waiting.unwrap_or("not all pods are ready")
            ),
            format!(
                "tombolo get pods -n {} --cluster {}",
                workload.namespace, workload.cluster
            ),
        )
    }));
}

fn of_control_plane(status: &Value, found: &mut Vec<Problem>) {
    if let Some(problem) = status["store"]["problem"].as_str() {
        found.push(Problem::new(
            format!("changes cannot be stored, reads go on with the last state: {problem}"),
            "",
        ));
    }
    let array = |field: &str| status[field].as_array().into_iter().flatten();
    for proxy in array("proxies").filter(|proxy| state(proxy) == "rejected") {
        let (name, reason) = (proxy_name(proxy), last_nack(proxy).unwrap_or_default());
        found.push(Problem::new(
            format!("proxy {name} rejected its configuration: {reason}"),
            "",
        ));
    }
    for workload in array("warnings") {
        for warning in workload["warnings"].as_array().into_iter().flatten() {
            let (object, message) = (text(warning, "/object"), text(warning, "/message"));
            found.push(Problem::new(format!("{object}: {message}"), ""));
        }
    }
}

/// For people.
pub(super) fn lines(problems: &[Problem]) -> String {
    if problems.is_empty() {
        return "nothing is wrong\n".into();
    }
    let mut lines = String::new();
    for problem in problems {
        let _ = writeln!(lines, "! {}", problem.message);
        if !problem.fix.is_empty() {
            let _ = writeln!(lines, "    {}", problem.fix);
        }
    }
    lines
}

/// For programs.
pub(super) fn to_json(problems: &[Problem]) -> Value {
    problems
        .iter()
        .map(|problem| json!({"message": problem.message, "fix": problem.fix}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_and_a_warning_are_told_once() {
        let proxy = json!({
            "connected": true,
            "peer": "10.0.0.9:1",
            "node": {"id": "n"},
            "kinds": {"listener": {"nack": {"revision": 7, "reason": "bad port", "at_ms": 1}}},
        });
        let warning = json!({"warnings": [{"object": "mesh/m", "message": "TLS is not driven"}]});
        let status = json!({"proxies": [proxy], "warnings": [warning, warning]});
        let found: Vec<String> = all(None, Ok(&status))
            .into_iter()
            .map(|p| p.message)
            .collect();
        assert_eq!(
            found,
            [
                "proxy 10.0.0.9:1 rejected its configuration: listener: bad port",
                "mesh/m: TLS is not driven"
            ]
        );
    }

    #[test]
    fn a_control_plane_that_is_silent_is_a_problem() {
        let found = all(None, Err(&"refused".to_owned()));
        assert_eq!(
            lines(&found),
            "! the control plane does not answer: refused\n"
        );
        assert_eq!(lines(&[]), "nothing is wrong\n");
    }
}
