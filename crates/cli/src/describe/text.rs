//! A description as text: aligned sections.

use super::{Description, Link};
use crate::{
    age::since,
    json,
    table::{NONE, Table},
    terminal::escaped_line,
};
use std::fmt::Write;
use tombolo_document::yaml;

/// The column of values.
const COLUMN: usize = 17;
const INDENT: &str = "  ";

pub(super) fn of(description: &Description) -> String {
    let mut text = String::new();
    for (name, values) in head(description) {
        let mut name = format!("{name}:");
        for value in values {
            let _ = writeln!(text, "{name:<COLUMN$}{}", escaped_line(&value));
            name.clear();
        }
    }
    let spec = &description.found.document()["spec"];
    let is_empty = spec.as_object().is_some_and(serde_json::Map::is_empty);
    section(
        &mut text,
        "Spec",
        &if is_empty {
            String::new()
        } else {
            yaml::write(spec)
        },
    );
    if !description.refers_to.is_empty() {
        section(&mut text, "Refers to", &links(&description.refers_to));
    }
    if let Some(referrers) = &description.referred_to_by {
        section(&mut text, "Referred to by", &links(referrers));
    }
    for table in &description.tables {
        let mut rows = Table::new(table.header.iter().copied());
        for row in &table.rows {
            rows.push(row.iter().cloned());
        }
        let rows = if rows.is_empty() {
            String::new()
        } else {
            rows.to_string()
        };
        section(&mut text, table.title, &rows);
    }
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    let title = format!("{title}:");
    if body.is_empty() {
        let _ = writeln!(text, "{title:<COLUMN$}{}", NONE);
        return;
    }
    let _ = writeln!(text, "{title}");
    for line in body.lines() {
        let _ = writeln!(text, "{INDENT}{line}");
    }
}

/// Names and values of the first lines; a value can have several lines. They are the metadata and the status of the
/// document.
fn head(description: &Description) -> Vec<(String, Vec<String>)> {
    let found = &description.found;
    let document = found.document();
    let mut head: Vec<(String, Vec<String>)> = vec![
        ("Name".into(), vec![found.id.name().into()]),
        ("Kind".into(), vec![found.id.kind().title().into()]),
    ];
    let containers = found.id.metadata().into_iter().skip(1);
    let status = document["status"]
        .as_object()
        .cloned()
        .into_iter()
        .flatten();
    for (member, value) in containers.chain(status) {
        let text = json::scalar(&value);
        let is_time = member.ends_with("At") || member.ends_with("Date");
        let age = since(&text).filter(|_| is_time);
        if !text.is_empty() {
            let text = age.map_or(text.clone(), |age| format!("{text} ({age} ago)"));
            head.push((title(&member), vec![text]));
        }
    }
    if found.arn().is_some() {
        let tags = found.tags.iter();
        let mut tags: Vec<String> = tags.map(|(key, value)| format!("{key}={value}")).collect();
        if tags.is_empty() {
            tags.push(NONE.into());
        }
        head.push(("Tags".into(), tags));
    }
    head
}

/// `virtualRouter` as `Virtual router`; short names in capitals, such as `arn`, `Id` and `uid`.
fn title(member: &str) -> String {
    if member.len() <= 3 {
        return member.to_uppercase();
    }
    let mut title = String::new();
    for (at, letter) in member.chars().enumerate() {
        if at == 0 {
            title.extend(letter.to_uppercase());
        } else if letter.is_uppercase() {
            title.push(' ');
            title.extend(letter.to_lowercase());
        } else {
            title.push(letter);
        }
    }
    title
}

fn links(links: &[Link]) -> String {
    if links.is_empty() {
        return String::new();
    }
    let has_weights = links.iter().any(|link| link.weight.is_some());
    let has_states = links.iter().any(|link| link.state.is_some());
    let mut header = vec!["ROLE", "RESOURCE"];
    header.extend(has_weights.then_some("WEIGHT"));
    header.extend(has_states.then_some("STATE"));
    let mut table = Table::new(header);
    for link in links {
        let mut row = vec![link.role.to_owned(), link.resource.clone()];
        if has_weights {
            row.push(link.weight.zip(link.weights).map(share).unwrap_or_default());
        }
        if has_states {
            row.push(link.state.clone().unwrap_or_default());
        }
        table.push(row);
    }
    table.to_string()
}

/// `90 of 100 (90.0%)`.
fn share((weight, sum): (u32, u32)) -> String {
    let percent = match sum {
        0 => 0.0,
        sum => f64::from(weight) * 100.0 / f64::from(sum),
    };
    format!("{weight} of {sum} ({percent:.1}%)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_become_titles_and_weights_shares() {
        assert_eq!(title("virtualRouter"), "Virtual router");
        assert_eq!(title("mesh"), "Mesh");
        assert_eq!(title("arn"), "ARN");
        assert_eq!(share((1, 3)), "1 of 3 (33.3%)");
        assert_eq!(share((0, 0)), "0 of 0 (0.0%)");
    }
}
