//! Progress on a terminal, as plain lines, or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

use serde_json::json;

use crate::control_socket::Info;
use crate::progress::Event;
use crate::up::Errors;

/// The form of progress output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// A live view on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Plain lines.
    Plain,
    /// One JSON object in each line.
    Json,
}

/// Substrings of reasons that need a user's action.
const STUCK: [&str; 4] = ["BackOff", "Err", "refused", "denied"];

/// Shows events on standard output.
pub struct ProgressView {
    json: bool,
    live: bool,
    /// Ready pods, wanted pods and the reason for the difference, by cluster and object.
    workloads: BTreeMap<(String, String), (u32, u32, Option<String>)>,
    /// Lines of the live part on the screen.
    drawn: usize,
    ready: bool,
}

impl ProgressView {
    /// A view that is still empty.
    pub fn new(output: Output) -> Self {
        let live = output == Output::Auto && std::io::stdout().is_terminal();
        Self {
            json: output == Output::Json,
            live,
            workloads: BTreeMap::new(),
            drawn: 0,
            ready: false,
        }
    }

    /// Shows an event.
    pub fn event(&mut self, event: &Event) {
        let text = if self.json {
            crate::progress::encode(event) + "\n"
        } else {
            self.text(event)
        };
        let mut out = std::io::stdout().lock();
        // A closed standard output must not stop the runtime.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn text(&mut self, event: &Event) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
        if let Some(line) = self.line(event) {
            text.push_str(&line);
            text.push('\n');
        }
        if self.live && !self.ready {
            for ((cluster, object), (ready, total, waiting)) in &self.workloads {
                let mark = if ready == total {
                    "\x1b[32m✓\x1b[0m"
                } else {
                    "\x1b[33m…\x1b[0m"
                };
                let waiting = waiting
                    .as_deref()
                    .and_then(|waiting| waiting.lines().next())
                    .unwrap_or_default();
                let line: String = format!("{cluster}  {object}  {ready}/{total}  {waiting}")
                    .chars()
                    .take(100)
                    .collect();
                let _ = writeln!(text, "  {mark} {}", line.trim_end());
                self.drawn += 1;
            }
        }
        text
    }

    /// The permanent line of an event, if it has one.
    fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Step { message } | Event::Note { message } => Some(message.clone()),
            Event::MeshObject { kind, name } => Some(format!("mesh: {kind} {name}")),
            Event::NamespaceCreated { name } => {
                Some(format!("Cloud Map: created namespace {name}"))
            }
            Event::Workload {
                cluster,
                object,
                ready,
                total,
                waiting,
            } => {
                let state = (*ready, *total, waiting.clone());
                let before = self
                    .workloads
                    .insert((cluster.clone(), object.clone()), state);
                // Without a live view, only reasons that need a user's action are printed.
                let stuck = waiting
                    .as_ref()
                    .is_some_and(|waiting| STUCK.iter().any(|word| waiting.contains(word)));
                let moved = before
                    .as_ref()
                    .is_none_or(|before| (before.0, before.1) != (*ready, *total));
                let is_known = before.is_some_and(|before| before.2 == *waiting);
                if self.live || !(moved || stuck && !is_known) {
                    return None;
                }
                let waiting = waiting
                    .as_deref()
                    .filter(|_| stuck)
                    .map(|waiting| format!(": {waiting}"));
                Some(format!(
                    "{cluster}: {object}: {ready}/{total} ready{}",
                    waiting.unwrap_or_default()
                ))
            }
            Event::Warning { message } => Some(format!("warning: {message}")),
            Event::Serving { .. } => None,
            Event::Ready { info } => {
                self.ready = true;
                Some(summary(info))
            }
            Event::Failed { message } => Some(format!("error: {message}")),
        }
    }
}

/// The addresses and the next commands.
fn summary(info: &Info) -> String {
    let names: Vec<_> = info
        .clusters
        .iter()
        .map(|cluster| cluster.name.as_str())
        .collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    let mut text = format!(
        "\n{} {verb} up ({}, {} proxy)\n",
        names.join(", "),
        info.mode,
        info.proxy
    );
    for balancer in &info.load_balancers {
        let _ = writeln!(
            text,
            "  {}:{}  http://{}  ({}, namespace {})",
            balancer.service, balancer.port, balancer.address, balancer.cluster, balancer.namespace
        );
    }
    let _ = writeln!(
        text,
        "  AWS APIs  {}  (account {}, region {})",
        info.api, info.account, info.region
    );
    let name = match info.name.as_str() {
        "default" => String::new(),
        name => format!(" --name {name}"),
    };
    let _ = write!(
        text,
        "    eval \"$(tombolo env{name})\" points the aws CLI and SDKs there"
    );
    text
}

/// Shows the errors of a start that was refused.
pub(super) fn show_errors(output: Output, errors: &Errors) {
    if output == Output::Json {
        let message = errors.to_string();
        let event = json!({"event": "failed", "message": message, "problems": errors.0});
        println!("{event}");
        return;
    }
    for error in &errors.0 {
        eprintln!("error: {error}");
    }
    eprintln!("nothing was started");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_view_erases_what_it_drew_and_ends_with_the_summary() {
        let mut view = ProgressView {
            live: true,
            ..ProgressView::new(Output::Plain)
        };
        let workload = |ready| Event::Workload {
            cluster: "east".into(),
            object: "deployment.apps/web".into(),
            ready,
            total: 1,
            waiting: None,
        };
        let first = view.text(&workload(0));
        assert!(first.contains("deployment.apps/web  0/1") && !first.contains("\x1b[1A"));
        assert!(view.text(&workload(1)).starts_with("\x1b[1A\x1b[J"));
        let last = view.text(&Event::Ready {
            info: Box::default(),
        });
        assert!(last.contains("tombolo env") && view.drawn == 0);
    }
}
