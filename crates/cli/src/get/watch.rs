//! `tombolo get --watch`: prints objects again when they change.

use super::print::Layout;
use crate::{
    backend::{Backend, Found, Query},
    error::{Error, Result},
    output::Format,
    terminal,
};
use serde_json::Value;
use std::collections::HashMap;

/// Prints until the backend does not answer or the program is interrupted.
pub(super) async fn run<B: Backend>(
    backend: &B,
    query: &Query<'_>,
    layout: &Layout<'_>,
) -> Result<i32> {
    let mut known = HashMap::new();
    let mut is_first = true;
    loop {
        let found = backend.find(query).await?;
        let mut pairs = found.objects.windows(2);
        if pairs.any(|pair| pair[0].kind != pair[1].kind) {
            return Err(Error::usage("--watch shows one kind at a time"));
        }
        let changed = changed(&mut known, &found);
        if !changed.is_empty() {
            show(layout, &found, &changed, is_first)?;
            is_first = false;
        }
        tokio::time::sleep(B::POLL).await;
    }
}

/// Documents by cluster, namespace and name.
type Known = HashMap<(String, Option<String>, String), Value>;

/// Positions of objects that differ from the last poll; `known` becomes this poll.
fn changed(known: &mut Known, found: &Found) -> Vec<usize> {
    let objects = found.objects.iter();
    let now: Vec<_> = objects
        .map(|it| {
            let key = (
                it.cluster.clone(),
                it.namespace.clone(),
                it.qualified_name.clone(),
            );
            (key, it.document.clone())
        })
        .collect();
    let is_changed = |(_, (key, document)): &(usize, &(_, Value))| known.get(key) != Some(document);
    let changed = now.iter().enumerate().filter(is_changed);
    let changed = changed.map(|(position, _)| position).collect();
    *known = now.into_iter().collect();
    changed
}

fn show(layout: &Layout<'_>, found: &Found, changed: &[usize], is_first: bool) -> Result<()> {
    let Format::Table { wide } = layout.output else {
        let mut objects = changed.iter().map(|position| &found.objects[*position]);
        return objects.try_for_each(|object| layout.print_one(object));
    };
    // The layout includes all objects, so that column widths are stable.
    let tables = layout.tables(found, *wide);
    let text: String = tables.iter().map(ToString::to_string).collect();
    let mut lines = text.split_inclusive('\n');
    let header = if layout.headers { lines.next() } else { None };
    let rows: Vec<&str> = lines.collect();
    let shown = changed
        .iter()
        .filter_map(|position| rows.get(*position).copied());
    let header = header.filter(|_| is_first).into_iter();
    terminal::print(header.chain(shown).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Object;

    #[test]
    fn what_is_new_or_newer_is_shown() {
        let object = |name: &str, version: u64| Object {
            qualified_name: name.into(),
            document: version.into(),
            ..Object::default()
        };
        let found = |objects: Vec<Object>| Found {
            objects,
            ..Found::default()
        };
        let mut known = HashMap::new();
        let first = found(vec![object("a", 1), object("b", 1)]);
        assert_eq!(changed(&mut known, &first), [0, 1]);
        assert_eq!(changed(&mut known, &first), [0_usize; 0]);
        let second = found(vec![object("b", 2), object("c", 3)]);
        assert_eq!(changed(&mut known, &second), [0, 1]);
        assert_eq!(known.len(), 2);
    }
}
