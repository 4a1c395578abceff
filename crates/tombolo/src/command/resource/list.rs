//! `tombolo get` of resources of a control plane.

use super::{
    cells::{cells, columns},
    found::Found,
    look::{Look, Within},
    progress::during,
    select::{self, Hit, Target},
};
use crate::command::output::{Format, put, put_data};
use serde_json::{Value, json};
use tombolo_kube::render::Table;

/// How resources are printed.
pub(crate) struct Show<'a> {
    pub(crate) output: &'a Format,
    pub(crate) with_headers: bool,
    /// With a column of all tags.
    pub(crate) with_tags: bool,
    /// Only those with these tags.
    pub(crate) selector: Option<&'a str>,
}

/// Prints what is meant.
pub(crate) async fn get(
    look: &Look,
    within: &Within,
    targets: &[Target],
    show: &Show<'_>,
) -> Result<i32, String> {
    let (found, missing) = find(look, within, targets, show).await?;
    let is_single = matches!(
        targets,
        [Target::Called(..) | Target::Mesh(_) | Target::Registry(_)]
    );
    print(&found, is_single, show)?;
    for what in &missing {
        eprintln!("error: {what}");
    }
    Ok(i32::from(!missing.is_empty()))
}

/// What is meant, and what is meant and not there.
pub(super) async fn find(
    look: &Look,
    within: &Within,
    targets: &[Target],
    show: &Show<'_>,
) -> Result<(Vec<Found>, Vec<String>), String> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for target in targets {
        match during("reading", select::find(look, within, target)).await? {
            Hit::Found(more) => found.extend(more),
            Hit::Nothing(what) => missing.push(what),
        }
    }
    if let Some(selector) = show.selector {
        let pairs = pairs(selector)?;
        found.retain(|one| pairs.iter().all(|pair| pair.holds(one)));
    }
    Ok((found, missing))
}

pub(super) fn print(found: &[Found], is_single: bool, show: &Show<'_>) -> Result<(), String> {
    // As kubectl: one resource by its name is printed bare, everything else as a list.
    let whole = || match found {
        [one] if is_single => one.document(),
        all => {
            let documents: Vec<Value> = all.iter().map(Found::document).collect();
            json!({"apiVersion": "v1", "kind": "List", "items": documents})
        }
    };
    match show.output {
        _ if found.is_empty() && is_single => Ok(()),
        Format::Data(form) => put_data(*form, &whole()),
        Format::Path(template) => put(template.render(&whole())),
        Format::Name | Format::Table { .. } if found.is_empty() => {
            eprintln!("No resources found");
            Ok(())
        }
        Format::Name => put(found
            .iter()
            .map(|one| format!("{}\n", one.id))
            .collect::<String>()),
        Format::Table { wide } => put(tables(found, *wide, show)),
    }
}

/// One table for each kind, in the order in which the kinds were found.
pub(super) fn tables(found: &[Found], wide: bool, show: &Show<'_>) -> String {
    let mut kinds = Vec::new();
    for one in found {
        if !kinds.contains(&one.id.kind()) {
            kinds.push(one.id.kind());
        }
    }
    let tables = kinds.iter().map(|kind| {
        let is_shown = |only_wide: bool| wide || !only_wide;
        let columns = columns(*kind);
        let shown = columns.iter().filter(|(_, only_wide)| is_shown(*only_wide));
        let mut header: Vec<&str> = shown.map(|(name, _)| *name).collect();
        if show.with_tags {
            header.push("TAGS");
        }
        let mut table = Table::of(header);
        if !show.with_headers {
            table = table.without_header();
        }
        for one in found.iter().filter(|one| one.id.kind() == *kind) {
            let all = cells(one).into_iter().zip(columns);
            let shown = all.filter(|(_, (_, only_wide))| is_shown(*only_wide));
            let mut row: Vec<String> = shown.map(|(cell, _)| cell).collect();
            if let Some(name) = row.first_mut()
                && kinds.len() > 1
            {
                *name = format!("{}/{name}", kind.word());
            }
            if show.with_tags {
                let tags = one.tags.iter();
                let tags: Vec<String> = tags.map(|(key, value)| format!("{key}={value}")).collect();
                row.push(tags.join(","));
            }
            table.push("", row);
        }
        table.to_string()
    });
    tables.collect::<Vec<String>>().join("\n")
}

/// A condition on one tag.
struct Pair {
    key: String,
    value: String,
    is_equal: bool,
}

impl Pair {
    fn holds(&self, found: &Found) -> bool {
        let is = found.tags.get(&self.key) == Some(&self.value);
        is == self.is_equal
    }
}

fn pairs(selector: &str) -> Result<Vec<Pair>, String> {
    let read = |text: &str| {
        let (key, value, is_equal) = match (text.split_once("!="), text.split_once('=')) {
            (Some((key, value)), _) => (key, value, false),
            (None, Some((key, value))) => (key, value.trim_start_matches('='), true),
            (None, None) => {
                return Err(format!("{text:?} is not KEY=VALUE or KEY!=VALUE of a tag"));
            }
        };
        Ok(Pair {
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
            is_equal,
        })
    };
    selector.split(',').map(read).collect()
}
