//! JSONPath templates in the syntax of `kubectl -o jsonpath=…`.
//!
//! Text is printed unchanged; `{…}` holds a path (`{.items[*].metadata.name}`), a text (`{"\n"}`), or the bounds of a
//! loop (`{range .items[*]}…{end}`). A path without matches prints nothing.

mod path;

use crate::json::scalar;
use path::Path;
use serde_json::Value;
use std::str::FromStr;

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Values(Path),
    Loop(Path, Vec<Part>),
}

impl Template {
    /// Renders a value.
    pub(crate) fn render(&self, value: &Value) -> String {
        let mut text = String::new();
        render(&self.0, value, value, &mut text);
        text
    }
}

fn render(parts: &[Part], root: &Value, here: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Values(path) => {
                let words: Vec<String> = path.of(root, here).into_iter().map(scalar).collect();
                out.push_str(&words.join(" "));
            }
            Part::Loop(path, body) => {
                for item in path.of(root, here) {
                    render(body, root, item, out);
                }
            }
        }
    }
}

/// The reason why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(String);

impl<T: Into<String>> From<T> for TemplateError {
    fn from(message: T) -> Self {
        Self(message.into())
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        // As in kubectl, a bare path needs no braces.
        let braced;
        let text = if text.contains('{') {
            text
        } else {
            braced = format!("{{{text}}}");
            &braced
        };
        read(text).map_err(|problem| format!("the JSONPath template {text:?}: {problem}").into())
    }
}

fn read(text: &str) -> Result<Template, TemplateError> {
    // Open loops, each with the parts before it.
    let mut outer: Vec<(Path, Vec<Part>)> = Vec::new();
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, after) = rest.split_once('{').unwrap_or((rest, ""));
        if !plain.is_empty() {
            parts.push(Part::Text(plain.to_owned()));
        }
        if plain.len() == rest.len() {
            break;
        }
        let end = closing(after, '{', '}').ok_or("a { has no }")?;
        let inside = after[..end].trim();
        rest = &after[end + 1..];
        if inside == "end" {
            let (path, before) = outer.pop().ok_or("{end} without {range …}")?;
            let body = std::mem::replace(&mut parts, before);
            parts.push(Part::Loop(path, body));
        } else if let Some(path) = inside.strip_prefix("range ") {
            outer.push((path.trim().parse()?, std::mem::take(&mut parts)));
        } else if inside.starts_with(['"', '\'']) {
            parts.push(Part::Text(path::unquoted(inside)?));
        } else {
            parts.push(Part::Values(inside.parse()?));
        }
    }
    match outer.is_empty() {
        true => Ok(Template(parts)),
        false => Err("{range …} without {end}".into()),
    }
}

/// Position of the character that closes a pair opened just before `text`; those in quotes or after a backslash do
/// not count.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let (mut depth, mut quote, mut is_escaped) = (0, None, false);
    for (position, letter) in text.char_indices() {
        match quote {
            _ if is_escaped => is_escaped = false,
            _ if letter == '\\' => is_escaped = true,
            Some(opened) if letter == opened => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            None if letter == open => depth += 1,
            None if letter == close && depth == 0 => return Some(position),
            None if letter == close => depth -= 1,
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods() -> Value {
        let pod = |name: &str, ip: &str, ready: bool| {
            json!({
                "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "shop"}},
                "status": {"podIP": ip, "ready": ready},
            })
        };
        json!({"kind": "List", "items": [pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false)]})
    }

    #[track_caller]
    fn assert_prints(template: &str, text: &str) {
        let template: Template = template.parse().expect("a template");
        assert_eq!(template.render(&pods()), text);
    }

    #[test]
    fn templates_print_what_kubectl_prints() {
        for (template, text) in [
            ("{.kind}", "List"),
            (".kind", "List"),
            ("kind", "List"),
            ("{.items[*].metadata.name}", "a b"),
            ("{.items[0].status.podIP}", "10.0.0.1"),
            ("{.items[-1].metadata.name}", "b"),
            ("{.items[1:].metadata.name}", "b"),
            ("{.items[0:2].metadata.name}", "a b"),
            ("{$.items[0]['metadata']['name']}", "a"),
            ("{.items[0]['metadata','status'].name}", "a"),
            ("{..podIP}", "10.0.0.1 10.0.0.2"),
            (
                r"{.items[0].metadata.labels.app\.kubernetes\.io/name}",
                "shop",
            ),
            (
                "{.items[?(@.status.podIP==\"10.0.0.2\")].metadata.name}",
                "b",
            ),
            ("{.items[?(@.status.ready==true)].metadata.name}", "a"),
            ("{.items[?(@.metadata.name!='a')].metadata.name}", "b"),
            ("{.items[?(@.nothing)].metadata.name}", ""),
            (
                "{range .items[*]}{.metadata.name}={.status.podIP}{\"\\n\"}{end}",
                "a=10.0.0.1\nb=10.0.0.2\n",
            ),
            ("{range .items[*]}{$.kind}{end}", "ListList"),
            ("{.items[0].status}", r#"{"podIP":"10.0.0.1","ready":true}"#),
            ("{.nothing.at.all}", ""),
            ("ip: {.items[0].status.podIP}!", "ip: 10.0.0.1!"),
        ] {
            assert_prints(template, text);
        }
    }

    #[test]
    fn templates_that_are_wrong_say_why() {
        for (template, reason) in [
            ("{.a", "{ has no }"),
            ("{end}", "without {range"),
            ("{range .a}", "without {end}"),
            ("{.a[}", "["),
            ("{.a[?(@.b~1)]}", "filter"),
            ("{.a[x]}", "index"),
            ("{\"a}", "{ has no }"),
        ] {
            let error = template.parse::<Template>().expect_err(template);
            assert!(error.0.contains(reason), "{template}: {error}");
        }
    }
}
