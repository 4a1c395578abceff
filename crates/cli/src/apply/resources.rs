//! Making the server's resources what documents ask for.

use super::{
    api::told,
    diff,
    look::Look,
    plan::{self, Outcome, Plan, Refusal, Step},
    progress::{Progress, during},
    read::Wanted,
    write::{Broken, Writer},
};
use crate::command::output::{Report, put, put_data};
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use tombolo_kube::render::yaml;

/// Applies, after all documents were tried. Answers whether anything was different.
pub(crate) async fn apply(
    look: &Look,
    wanted: Vec<Wanted>,
    report: Report,
) -> Result<bool, String> {
    let plan = make(look, wanted).await?;
    let mut writer = Writer::new(&look.client, &plan.known);
    let mut progress = Progress::of(plan.steps.len());
    for (at, step) in plan.steps.iter().enumerate() {
        if let Err(broken) = writer.step(step).await {
            show(&plan.steps[..at], report)?;
            return Err(broken_off(&plan.steps, at, &broken));
        }
        if report.data().is_none() {
            put(format_args!("{} {}\n", step.wanted.id, step.outcome.word()))?;
        } else {
            progress.step();
        }
    }
    show(&plan.steps, report)?;
    Ok(is_different(&plan.steps))
}

/// Says what applying would change. Answers whether anything would.
pub(crate) async fn diff(look: &Look, wanted: Vec<Wanted>, report: Report) -> Result<bool, String> {
    let plan = make(look, wanted).await?;
    if report.data().is_some() {
        show(&plan.steps, report)?;
    } else {
        put(texts(&plan.steps, is_coloured()))?;
    }
    Ok(is_different(&plan.steps))
}

fn is_different(steps: &[Step]) -> bool {
    let mut steps = steps.iter();
    steps.any(|step| step.outcome != Outcome::Unchanged)
}

/// Whether whoever reads sees colours, and wants them.
fn is_coloured() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !unwanted
}

async fn make(look: &Look, wanted: Vec<Wanted>) -> Result<Plan, String> {
    let plan = during("reading what the server has", plan::make(look, wanted));
    plan.await.map_err(|refusal| match refusal {
        Refusal::Problems(problems) => format!("nothing was changed:\n{problems}"),
        Refusal::Server(error) => format!("nothing was changed: {}", told(&error)),
    })
}

/// What was done and what was not when the server refused a step after all, or fell silent.
fn broken_off(steps: &[Step], at: usize, broken: &Broken) -> String {
    let (done, rest) = steps.split_at(at);
    let (open, rest) = rest.split_at(usize::from(broken.is_open));
    let mut message = format!("{}: {}", steps[at].wanted.id, told(&broken.error));
    for (title, steps, with_outcome) in [
        ("done before", done, true),
        ("done in part, or perhaps done", open, false),
        ("not done", rest, false),
    ] {
        let lines = steps.iter().map(|step| match with_outcome {
            true => format!("\n  {} {}", step.wanted.id, step.outcome.word()),
            false => format!("\n  {}", step.wanted.id),
        });
        if !steps.is_empty() {
            message.push_str(&format!("\n{title}:{}", lines.collect::<String>()));
        }
    }
    message + "\nmend it and apply the same files again: what is done stays as it is"
}

/// The differences, as people read them: a diff for each resource, and a last line that counts.
fn texts(steps: &[Step], with_colours: bool) -> String {
    let mut text = String::new();
    for step in steps {
        let diff = difference(step);
        text.push_str(&if with_colours {
            diff::coloured(&diff)
        } else {
            diff
        });
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
    let before = step.before().map(|before| yaml(&before));
    let id = &step.wanted.id;
    let from = match before {
        Some(_) => format!("{id} (on the server)"),
        None => "/dev/null".to_owned(),
    };
    diff::unified(
        &from,
        &format!("{id} ({})", step.wanted.place.line()),
        before.as_deref().unwrap_or_default(),
        &yaml(&step.after()),
    )
}

/// The steps as data.
fn show(steps: &[Step], report: Report) -> Result<(), String> {
    let Some(form) = report.data() else {
        return Ok(());
    };
    let steps: Vec<Value> = steps.iter().map(to_json).collect();
    put_data(form, &json!({ "resources": steps }))
}

fn to_json(step: &Step) -> Value {
    let mut json = Map::new();
    json.insert("resource".into(), step.wanted.id.to_string().into());
    json.insert("outcome".into(), step.outcome.word().into());
    if step.outcome != Outcome::Unchanged {
        json.insert("before".into(), json!(step.before()));
        json.insert("after".into(), step.after());
    }
    Value::Object(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::resource::read;
    use tombolo_api::client::Error;
    use tombolo_kube::manifest::{Options, Source};

    #[test]
    fn what_is_done_what_may_be_and_what_is_not_are_told_apart() {
        let text = "{meshName: a}\n---\n{meshName: b}\n---\n{meshName: c}\n";
        let source = Source::new("three.yaml", text);
        let (wanted, _) = read::any(&[source], &Options::default()).expect("three meshes");
        let step = |wanted| Step {
            wanted,
            found: None,
            outcome: Outcome::Created,
        };
        let steps: Vec<Step> = wanted.into_iter().map(step).collect();
        let message = |is_open| {
            let error = Error::Transport("no answer".into());
            broken_off(&steps, 1, &Broken { error, is_open })
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
