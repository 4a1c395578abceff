//! `tombolo get --watch`: objects again when they change.

use super::{Found, Get, Item, Target, name_line};
use crate::command::{
    output::{Format, put, put_data},
    run::text,
};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// How often is looked.
const PERIOD: Duration = Duration::from_millis(500);

/// Prints until the clusters are gone or the program is interrupted.
pub(super) async fn run(get: &Get, targets: &[Target]) -> Result<i32, String> {
    let mut known = HashMap::new();
    let mut is_first = true;
    loop {
        let found = get.find(targets).await?;
        let kinds: BTreeSet<String> = found
            .items
            .iter()
            .map(|item| text(&item.object, "/kind"))
            .collect();
        if kinds.len() > 1 {
            return Err("--watch shows one kind at a time".into());
        }
        let changed = changed(&mut known, &found.items);
        if !changed.is_empty() {
            show(get, &found, &changed, is_first)?;
            is_first = false;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The places of items that are not as they were, and from now on are known.
fn changed(known: &mut HashMap<String, String>, items: &[Item]) -> Vec<usize> {
    let mut now = HashMap::new();
    let mut changed = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let version = text(&item.object, "/metadata/resourceVersion");
        let uid = text(&item.object, "/metadata/uid");
        if known.get(&uid) != Some(&version) {
            changed.push(place);
        }
        now.insert(uid, version);
    }
    // What is gone need not be remembered.
    *known = now;
    changed
}

fn show(get: &Get, found: &Found, changed: &[usize], is_first: bool) -> Result<(), String> {
    let items = changed.iter().map(|place| &found.items[*place]);
    match &get.output {
        Format::Name => put(items.map(name_line).collect::<String>()),
        Format::Data(form) => items
            .into_iter()
            .try_for_each(|item| put_data(*form, &item.object)),
        Format::Path(template) => items
            .into_iter()
            .try_for_each(|item| put(template.render(&item.object))),
        Format::Table { wide } => {
            // All objects take part in the layout, so that columns stay where they are.
            let tables = get.tables(found, *wide);
            let text: String = tables.iter().map(ToString::to_string).collect();
            let mut lines = text.split_inclusive('\n');
            let header = if get.no_headers { None } else { lines.next() };
            let rows: Vec<&str> = lines.collect();
            let shown = changed.iter().filter_map(|place| rows.get(*place).copied());
            put(header
                .filter(|_| is_first)
                .into_iter()
                .chain(shown)
                .collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_new_or_newer_is_shown() {
        let item = |uid: &str, version: &str| Item {
            cluster: "c".into(),
            object: json!({"metadata": {"uid": uid, "resourceVersion": version}}),
        };
        let mut known = HashMap::new();
        let first = [item("a", "1"), item("b", "1")];
        assert_eq!(changed(&mut known, &first), [0, 1]);
        assert_eq!(changed(&mut known, &first), [0_usize; 0]);
        let second = [item("b", "2"), item("c", "3")];
        assert_eq!(changed(&mut known, &second), [0, 1]);
        assert_eq!(known.len(), 2);
    }
}
