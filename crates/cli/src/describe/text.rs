//! A description as people read it: aligned sections.

use super::{Description, Link};
use crate::{
    age::since,
    resource::view::{Details, time},
    table::{NONE, Table},
    terminal::escaped_line,
};
use std::fmt::Write;
use tombolo_document::yaml;
use tombolo_model::Timestamp;

/// Where values begin.
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

/// Names and values of the first lines; a value has several lines where there are several.
fn head(description: &Description) -> Vec<(String, Vec<String>)> {
    let found = &description.found;
    let mut lines: Vec<(String, String)> = vec![
        ("Name".into(), found.id.name().into()),
        ("Kind".into(), found.id.kind().title().into()),
    ];
    for (member, place) in found.id.metadata().iter().skip(1) {
        lines.push((title(member), place.as_str().unwrap_or_default().into()));
    }
    let mut line = |name: &str, value: String| lines.push((name.into(), value));
    if let Some(arn) = found.arn() {
        line("ARN", arn.into());
    }
    match &found.details {
        Details::Namespace(namespace) => {
            line("ID", namespace.id.clone());
            line("HTTP name", namespace.http_name.clone());
            if let Some(zone) = &namespace.hosted_zone_id {
                line("Hosted zone", zone.clone());
            }
            line("Services", namespace.service_count.to_string());
            line("Created", when(namespace.created_at));
        }
        Details::Service { service, .. } => {
            line("ID", service.id.clone());
            line("Instances", service.instance_count.to_string());
            line("Created", when(service.created_at));
        }
        Details::Instance { health, .. } => line("Health", health.clone()),
        Details::Mesh(resource) => {
            let metadata = &resource.metadata;
            line("UID", metadata.uid.clone());
            line("Version", metadata.version.to_string());
            line("Created", when(metadata.created_at));
            line("Updated", when(metadata.last_updated_at));
            line("Owner", metadata.resource_owner.to_string());
            if metadata.mesh_owner != metadata.resource_owner {
                line("Mesh owner", metadata.mesh_owner.to_string());
            }
            line("Status", "ACTIVE".into());
        }
    }
    let mut head: Vec<(String, Vec<String>)> = lines
        .into_iter()
        .map(|(name, value)| (name, vec![value]))
        .collect();
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

/// `virtualRouter` as `Virtual router`.
fn title(member: &str) -> String {
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

fn when(at: Timestamp) -> String {
    let at = time(at);
    format!("{at} ({} ago)", since(&at).unwrap_or_default())
}

fn links(links: &[Link]) -> String {
    if links.is_empty() {
        return String::new();
    }
    let has_weights = links.iter().any(|link| link.weight.is_some());
    let has_states = links.iter().any(|link| !link.state.is_empty());
    let mut header = vec!["ROLE", "RESOURCE"];
    header.extend(has_weights.then_some("WEIGHT"));
    header.extend(has_states.then_some("STATE"));
    let mut table = Table::new(header);
    for link in links {
        let mut row = vec![link.role.to_owned(), link.other.to_string()];
        if has_weights {
            row.push(link.weight.map(share).unwrap_or_default());
        }
        if has_states {
            row.push(link.state.clone());
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
        assert_eq!(share((1, 3)), "1 of 3 (33.3%)");
        assert_eq!(share((0, 0)), "0 of 0 (0.0%)");
    }
}
