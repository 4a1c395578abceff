//! Removing resources from a server.

use super::{
    api::told,
    found::Found,
    look::{Look, Within},
    plan::{Known, rank},
    progress::{Progress, during},
    read::Wanted,
    select::{self, Hit, Target},
    write::Writer,
};
use crate::command::output::{Report, put, put_data};
use serde_json::{Value, json};
use tombolo_api::client::Error;

/// How resources are removed.
pub(crate) struct Options {
    pub(crate) is_dry: bool,
    /// What is not there is no error.
    pub(crate) ignore_not_found: bool,
    pub(crate) report: Report,
}

/// Removes what the words of a command line mean.
pub(crate) async fn targets(
    look: &Look,
    within: &Within,
    targets: &[Target],
    options: &Options,
) -> Result<i32, String> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for target in targets {
        match during("reading", select::find(look, within, target)).await? {
            Hit::Found(more) => found.extend(more),
            Hit::Nothing(what) => missing.push(what),
        }
    }
    delete(look, found, missing, options).await
}

/// Removes what documents are about.
pub(crate) async fn documents(
    look: &Look,
    wanted: &[Wanted],
    options: &Options,
) -> Result<i32, String> {
    let ids: Vec<_> = wanted.iter().map(|one| one.id.clone()).collect();
    let found = during("reading", look.find_all(&ids)).await;
    let found = found.map_err(|error| told(&error))?;
    let missing = wanted
        .iter()
        .zip(&found)
        .filter(|(_, found)| found.is_none());
    let missing = missing
        .map(|(one, _)| format!("{}: {} not found", one.place.line(), one.id))
        .collect();
    delete(
        look,
        found.into_iter().flatten().collect(),
        missing,
        options,
    )
    .await
}

async fn delete(
    look: &Look,
    mut found: Vec<Found>,
    missing: Vec<String>,
    options: &Options,
) -> Result<i32, String> {
    if !missing.is_empty() && !options.ignore_not_found {
        return Err(format!("{}; nothing was deleted", missing.join("\n")));
    }
    // References lead backwards, so the last go first.
    found.sort_by_key(|one| std::cmp::Reverse(rank(one.id.kind())));
    let writer = Writer::new(&look.client, &Known::new());
    let mut progress = Progress::of(found.len());
    for (at, one) in found.iter().enumerate() {
        if !options.is_dry {
            let deleted = during("waiting until it is gone", writer.delete(one)).await;
            match deleted {
                // The answer to a first attempt was lost, or somebody else was faster.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(broken_off(&found, at, &error)),
                Ok(()) => {}
            }
        }
        if options.report.data().is_none() {
            let dry = if options.is_dry { " (dry run)" } else { "" };
            put(format_args!("{} deleted{dry}\n", one.id))?;
        } else {
            progress.step();
        }
    }
    if let Some(form) = options.report.data() {
        let rows = found
            .iter()
            .map(|one| json!({"resource": one.id.to_string(), "outcome": "deleted"}));
        put_data(form, &json!({ "resources": rows.collect::<Vec<Value>>() }))?;
    }
    Ok(0)
}

/// What was deleted and what was not when the server refused, or fell silent.
fn broken_off(found: &[Found], at: usize, error: &Error) -> String {
    let is_open = matches!(error, Error::Transport(_));
    let (gone, rest) = found.split_at(at);
    let (open, rest) = rest.split_at(usize::from(is_open));
    let mut message = format!("{}: {}", found[at].id, told(error));
    for (title, some) in [
        ("deleted before", gone),
        ("perhaps deleted", open),
        ("not deleted", rest),
    ] {
        if !some.is_empty() {
            let lines = some.iter().map(|one| format!("\n  {}", one.id));
            message.push_str(&format!("\n{title}:{}", lines.collect::<String>()));
        }
    }
    message
}
