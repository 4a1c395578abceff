//! The catalogue of log events, written from the source.

use crate::process::{Result, root};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Path of the catalogue from the root.
const PAGE: &str = "docs/reference/logs.md";
/// The line before the generated table; the text before it is kept.
const MARK: &str = "<!-- Written by `cargo xtask logs`. -->";
/// Levels in the catalogue, by the names of their macros. Lower levels are for developers.
const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// An event, in the order of the table.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    crate_name: String,
    level: usize,
    message: String,
    fields: Vec<String>,
}

/// Generates the table.
pub(crate) fn run() -> Result<()> {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    fs::write(&path, updated(&page)?).map_err(|error| format!("{PAGE}: {error}"))
}

/// The page with the table of the current source.
fn updated(page: &str) -> Result<String> {
    let (before, _) = page
        .split_once(MARK)
        .ok_or_else(|| format!("{PAGE}: no line {MARK}"))?;
    let mut text = format!(
        "{before}{MARK}\n\n| crate | level | message | fields |\n| --- | --- | --- | --- |\n"
    );
    for event in events()? {
        let fields: Vec<_> = event
            .fields
            .iter()
            .map(|field| format!("`{field}`"))
            .collect();
        text += &format!(
            "| {} | {} | {} | {} |\n",
            event.crate_name,
            LEVELS[event.level],
            event.message.replace('|', "\\|"),
            fields.join(", ")
        );
    }
    Ok(text)
}

fn events() -> Result<BTreeSet<Event>> {
    let mut events = BTreeSet::new();
    let crates = root().join("crates");
    let mut files = Vec::new();
    collect(&crates, &mut files)?;
    for file in files {
        let inside = file.strip_prefix(&crates).unwrap_or(&file);
        let is_test = inside.components().any(|part| {
            let part = Path::new(part.as_os_str());
            part.file_stem()
                .is_some_and(|stem| stem == "tests" || stem == "benches")
        });
        let Some(crate_name) = inside.iter().next().filter(|_| !is_test) else {
            continue;
        };
        let text =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        events.extend(events_of(&crate_name.to_string_lossy(), &text));
    }
    Ok(events)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn events_of(crate_name: &str, source: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for (level, name) in LEVELS.iter().enumerate() {
        for (at, call) in source.match_indices(&format!("tracing::{name}!(")) {
            let arguments = arguments(&source[at + call.len()..]);
            let is_text = |argument: &&String| argument.starts_with('"');
            // The arguments after the message fill its placeholders.
            let fields = arguments
                .iter()
                .take_while(|argument| !argument.starts_with('"'));
            let names = fields.filter_map(|field| {
                let name = field
                    .split('=')
                    .next()?
                    .trim()
                    .trim_start_matches(['%', '?']);
                // `target: …` and `parent: …` are not fields.
                let name = name.rsplit('.').next().filter(|_| !name.contains(':'))?;
                (!name.is_empty()).then(|| name.to_owned())
            });
            let message = arguments
                .iter()
                .find(is_text)
                .map_or("", |text| text.trim_matches('"'));
            events.push(Event {
                crate_name: crate_name.to_owned(),
                level,
                message: message.replace("\\\"", "\""),
                fields: names.collect(),
            });
        }
    }
    events
}

/// The arguments of a macro call; the text begins after the parenthesis. A string over several lines is joined, as by
/// the compiler.
fn arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut depth = 0;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let last = arguments.last_mut().expect("there is always one");
        match char {
            '"' => {
                last.push('"');
                while let Some(char) = chars.next() {
                    match char {
                        '\\' if chars.peek() == Some(&'\n') => {
                            while chars.next_if(|char| char.is_whitespace()).is_some() {}
                        }
                        '\\' => last.extend([Some('\\'), chars.next()].into_iter().flatten()),
                        char => last.push(char),
                    }
                    if char == '"' {
                        break;
                    }
                }
            }
            ')' if depth == 0 => break,
            '(' | '[' | '{' => {
                depth += 1;
                last.push(char);
            }
            ')' | ']' | '}' => {
                depth -= 1;
                last.push(char);
            }
            ',' if depth == 0 => arguments.push(String::new()),
            char if char.is_whitespace() && last.is_empty() => {}
            char => last.push(char),
        }
    }
    let trimmed = arguments.iter().map(|argument| argument.trim().to_owned());
    trimmed.filter(|argument| !argument.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_that_of_the_source() {
        let page = fs::read_to_string(root().join(PAGE)).expect("the page is there");
        let expected = updated(&page).expect("the source is readable");
        assert!(page == expected, "run `cargo xtask logs`");
    }

    #[test]
    fn events_have_a_level_a_message_and_fields() {
        let source = r#"
            tracing::warn!(
                parent: self.span(), member = %at, ?tasks, self.name,
                "connection to {kind}, \
                 ended"
            );
            tracing::info!("\"{what}\" listens on {address}", f(1, 2));
            tracing::debug!("no");
        "#;
        let event = |level, message: &str, fields: &[&str]| Event {
            crate_name: "store".into(),
            level,
            message: message.into(),
            fields: fields.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            events_of("store", source),
            [
                event(
                    1,
                    "connection to {kind}, ended",
                    &["member", "tasks", "name"]
                ),
                event(2, "\"{what}\" listens on {address}", &[]),
            ]
        );
    }
}
