//! Applying documents to a control plane.

use super::{
    Files, Options,
    plan::{self, Outcome, Plan, Step},
    writer::{StepError, Writer},
};
use crate::{
    control_plane::ControlPlane,
    diff::unified,
    error::{Error, Result},
    output::{ReportFormat, print_value},
    progress::{Progress, during},
    resource::{id::Id, lookup::Lookup},
    terminal,
};
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use tombolo_document::yaml;

/// Applies documents after a dry run of all of them, or with a dry run prints the changes.
pub(crate) async fn apply(
    control_plane: &ControlPlane<'_>,
    files: &Files,
    options: &Options,
) -> Result<()> {
    if options.dry_run {
        return diff(control_plane, files, options).await.map(|_| ());
    }
    let (lookup, plan) = make(control_plane, files, options).await?;
    let mut writer = Writer::new(&lookup.client, &plan.known);
    let mut progress = Progress::of(plan.steps.len());
    for (at, step) in plan.steps.iter().enumerate() {
        if let Err(error) = writer.step(step).await {
            show(&plan.steps[..at], options.report)?;
            return Err(Error::Rejected(interrupted_step(&plan.steps, at, &error)));
        }
        if options.report.data().is_none() {
            let (id, outcome) = (&step.desired.id, step.outcome.as_str());
            terminal::print(format_args!("{id} {outcome}\n"))?;
        } else {
            progress.step();
        }
    }
    show(&plan.steps, options.report)
}

/// Prints the changes of applying. Returns whether there are any.
pub(crate) async fn diff(
    control_plane: &ControlPlane<'_>,
    files: &Files,
    options: &Options,
) -> Result<bool> {
    let (_, plan) = make(control_plane, files, options).await?;
    if options.report.data().is_some() {
        show(&plan.steps, options.report)?;
    } else {
        terminal::print_coloured(&texts(&plan.steps, is_coloured()))?;
    }
    Ok(is_different(&plan.steps))
}

fn is_different(steps: &[Step]) -> bool {
    let mut steps = steps.iter();
    steps.any(|step| step.outcome != Outcome::Unchanged)
}

/// Whether standard output is a terminal and `NO_COLOR` is unset.
fn is_coloured() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !unwanted
}

async fn make(
    control_plane: &ControlPlane<'_>,
    files: &Files,
    options: &Options,
) -> Result<(Lookup, Plan)> {
    let parsed = files.parse(options)?;
    if parsed.is_empty() {
        return Err(Error::Rejected(
            "there is no resource in these files".into(),
        ));
    }
    let lookup = control_plane.lookup().await?;
    let planned = async {
        let desired = parsed.resolve(&lookup, options.mesh.as_deref()).await?;
        plan::make(&lookup, desired).await
    };
    let plan = during("reading what the server has", planned).await;
    let plan = plan.map_err(Error::before_any_change)?;
    for warning in &plan.warnings {
        terminal::warning(warning);
    }
    Ok((lookup, plan))
}

/// The error of a server that refused a step, or does not answer: the steps done before and those not done. Parts
/// without lines are left out.
pub(crate) fn interrupted<const N: usize>(
    id: &Id,
    error: &tombolo_api::client::Error,
    parts: [(&str, Vec<String>); N],
) -> String {
    let mut message = format!("{id}: {error}");
    for (title, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
        message += &format!("\n{title}:\n  {}", lines.join("\n  "));
    }
    message
}

fn interrupted_step(steps: &[Step], at: usize, failure: &StepError) -> String {
    let (done, rest) = steps.split_at(at);
    let (open, rest) = rest.split_at(usize::from(failure.is_open));
    let ids = |steps: &[Step]| steps.iter().map(|it| it.desired.id.to_string()).collect();
    let outcome = |step: &Step| format!("{} {}", step.desired.id, step.outcome.as_str());
    let parts = [
        ("done before", done.iter().map(outcome).collect()),
        ("done in part, or perhaps done", ids(open)),
        ("not done", ids(rest)),
    ];
    interrupted(&steps[at].desired.id, &failure.error, parts)
        + "\ncorrect it and apply the same files again: what is done stays as it is"
}

/// The differences as text: a diff for each resource, and a last line with counts.
fn texts(steps: &[Step], with_colours: bool) -> String {
    let mut text = String::new();
    for step in steps {
        let difference = difference(step);
        let diff = terminal::escaped(&difference);
        match with_colours {
            true => text.push_str(&unified::coloured(&diff)),
            false => text.push_str(&diff),
        }
    }
    let count = |outcome| steps.iter().filter(|step| step.outcome == outcome).count();
    text.push_str(&format!(
        "# {} to create, {} to change, {} unchanged; nothing was sent (dry run)\n",
        count(Outcome::Created),
        count(Outcome::Configured),
        count(Outcome::Unchanged)
    ));
    text
}

fn difference(step: &Step) -> String {
    let before = step.before().map(|before| yaml::write(&before));
    let id = &step.desired.id;
    let from = match before {
        Some(_) => format!("{id} (on the server)"),
        None => "/dev/null".to_owned(),
    };
    unified::diff(
        &from,
        &format!("{id} ({})", step.desired.location.line()),
        before.as_deref().unwrap_or_default(),
        &yaml::write(&step.after()),
    )
}

/// Prints the steps as data.
fn show(steps: &[Step], report: ReportFormat) -> Result<()> {
    let Some(form) = report.data() else {
        return Ok(());
    };
    let steps: Vec<Value> = steps.iter().map(to_json).collect();
    print_value(form, &json!({ "resources": steps }))
}

fn to_json(step: &Step) -> Value {
    let mut json = Map::new();
    json.insert("resource".into(), step.desired.id.to_string().into());
    json.insert("outcome".into(), step.outcome.as_str().into());
    if step.outcome != Outcome::Unchanged {
        json.insert("before".into(), json!(step.before()));
        json.insert("after".into(), step.after());
    }
    Value::Object(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::read::{self, Parsed};
    use tombolo_api::client::Error;
    use tombolo_kube::manifest::{Options, Source};

    #[test]
    fn what_is_done_what_may_be_and_what_is_not_are_told_apart() {
        let text = "{meshName: a}\n---\n{meshName: b}\n---\n{meshName: c}\n";
        let source = Source::new("three.yaml", text);
        let parsed = read::parse(&[source], &Options::default()).map(|(parsed, _)| parsed);
        let Ok(Parsed::Resources(desired)) = parsed else {
            panic!("three meshes");
        };
        let step = |desired| Step {
            desired,
            found: None,
            outcome: Outcome::Created,
        };
        let steps: Vec<Step> = desired.into_iter().map(step).collect();
        let message = |is_open| {
            let error = Error::Transport("no answer".into());
            interrupted_step(&steps, 1, &StepError { error, is_open })
        };
        let told = message(true);
        assert!(told.starts_with("mesh/b: no answer\n"), "{told}");
        let parts = "done before:\n  mesh/a created\ndone in part, or perhaps done:\n  mesh/b\n\
                     not done:\n  mesh/c\n";
        assert!(told.contains(parts), "{told}");
        let told = message(false);
        let parts = "done before:\n  mesh/a created\nnot done:\n  mesh/b\n  mesh/c\n";
        assert!(told.contains(parts), "{told}");
    }
}
