//! Problems of a run and its control plane.

use crate::{local::location, terminal::bounded_line};
use serde_json::{Value, json};
use std::{collections::HashSet, fmt::Write as _};
use tombolo_local::control_socket::Status as RunStatus;
use tombolo_operator::{Error, Status, SyncState};
use tombolo_telemetry::ErrorChain;

/// Maximum characters of a message.
const MAX_MESSAGE: usize = 2_000;

/// A problem, and the command that fixes or explains it; empty when there is none.
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

/// All problems that the run and its control plane report.
pub(super) fn all(run: Option<&RunStatus>, control_plane: Result<&Status, &Error>) -> Vec<Problem> {
    let mut found = Vec::new();
    match control_plane {
        Ok(status) => of_control_plane(status, &mut found),
        Err(error) => found.push(Problem::new(
            format!("the control plane does not answer: {}", ErrorChain(error)),
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
        let location = location(&problem.namespace, &problem.cluster);
        let message = format!("{} in {location}: {}", problem.object, problem.message);
        Problem::new(message, "")
    }));
    let unready = run
        .workloads
        .iter()
        .filter(|workload| workload.ready < workload.total);
    found.extend(unready.map(|workload| {
        let waiting = workload.waiting.as_deref();
        Problem::new(
            format!(
                "{} in {}: {}/{} ready: {}",
                workload.object,
                location(&workload.namespace, &workload.cluster),
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

fn of_control_plane(status: &Status, found: &mut Vec<Problem>) {
    if let Some(problem) = &status.store.problem {
        found.push(Problem::new(
            format!("changes cannot be stored, reads go on with the last state: {problem}"),
            "",
        ));
    }
    let proxies = status.proxies.iter();
    for proxy in proxies.filter(|proxy| proxy.sync_state() == SyncState::Rejected) {
        if let Some((kind, nack)) = proxy.last_nack() {
            let (name, reason) = (proxy.name(), &nack.reason);
            found.push(Problem::new(
                format!("proxy {name} rejected its configuration: {kind}: {reason}"),
                "",
            ));
        }
    }
    for refusal in &status.refusals {
        let (node, count, reason) = (&refusal.node, refusal.count, &refusal.reason);
        let peer = refusal.peer.as_deref().unwrap_or("an unknown address");
        found.push(Problem::new(
            format!(
                "proxy {node} at {peer} was turned away ({count} times): {}: {reason}",
                refusal.code
            ),
            "docs/operate/proxies.md: what each refusal means",
        ));
    }
    for warning in status
        .warnings
        .iter()
        .flat_map(|of_workload| &of_workload.warnings)
    {
        found.push(Problem::new(
            format!("{}: {}", warning.object, warning.message),
            "",
        ));
    }
}

/// The problems as text.
pub(super) fn lines(problems: &[Problem]) -> String {
    if problems.is_empty() {
        return "nothing is wrong\n".into();
    }
    let mut lines = String::new();
    for problem in problems {
        let _ = writeln!(lines, "! {}", bounded_line(&problem.message, MAX_MESSAGE));
        if !problem.fix.is_empty() {
            let _ = writeln!(lines, "    {}", bounded_line(&problem.fix, MAX_MESSAGE));
        }
    }
    lines
}

/// The problems as data.
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
        let status: Status = serde_json::from_value(json!({
            "version": "1", "store": {"kind": "memory"}, "account": "", "region": "", "revision": 7,
            "publishedRevision": 7, "synced": false,
            "refusals": [{
                "node": "mesh/m/virtualNode/n", "peer": "10.0.0.9:1", "code": "PERMISSION_DENIED",
                "reason": "the token is for another", "count": 3, "atMs": 1,
            }],
            "proxies": [{
                "stream": 1, "connected": true, "peer": "10.0.0.9:1", "node": {"id": "n"}, "revision_acked": 0,
                "kinds": {"listener": {"nack": {"revision": 7, "reason": "bad port", "at_ms": 1}}},
            }],
            "warnings": [{"workload": "w", "warnings": [
                {"object": "mesh/m", "message": "TLS is not supported"},
                {"object": "mesh/m", "message": "TLS is not supported"},
            ]}],
        }))
        .expect("a status");
        let found: Vec<String> = all(None, Ok(&status))
            .into_iter()
            .map(|p| p.message)
            .collect();
        assert_eq!(
            found,
            [
                "proxy 10.0.0.9:1 rejected its configuration: listener: bad port",
                "proxy mesh/m/virtualNode/n at 10.0.0.9:1 was turned away (3 times): PERMISSION_DENIED: the token is \
                 for another",
                "mesh/m: TLS is not supported"
            ]
        );
    }

    #[test]
    fn a_control_plane_that_is_silent_is_a_problem() {
        let why = "no answer from http://a: connection refused";
        let silent = tombolo_api::client::Error::Transport(why.into());
        let found = all(None, Err(&Error::Api(silent)));
        assert_eq!(
            lines(&found),
            format!("! the control plane does not answer: {why}\n")
        );
        assert_eq!(lines(&[]), "nothing is wrong\n");
    }
}
