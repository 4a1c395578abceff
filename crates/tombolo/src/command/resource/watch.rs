//! `tombolo get --watch` of resources of a control plane: again when they change.

use super::{
    found::Found,
    id::Id,
    list::{Show, print, tables},
    look::{Look, Within},
    select::Target,
};
use crate::command::output::{Format, put};
use std::{collections::BTreeMap, time::Duration};

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// Prints until the server is gone or the program is interrupted.
pub(crate) async fn watch(
    look: &Look,
    within: &Within,
    targets: &[Target],
    show: &Show<'_>,
) -> Result<i32, String> {
    let mut known: BTreeMap<Id, String> = BTreeMap::new();
    let mut is_first = true;
    loop {
        // What names stand for may have changed, too.
        let look = Look::new(look.client.clone());
        let (found, _) = super::list::find(&look, within, targets, show).await?;
        if found
            .windows(2)
            .any(|two| two[0].id.kind() != two[1].id.kind())
        {
            return Err("--watch shows one kind at a time".into());
        }
        let now: BTreeMap<Id, String> = found
            .iter()
            .map(|one| (one.id.clone(), one.document().to_string()))
            .collect();
        let is_new = |one: &Found| known.get(&one.id) != now.get(&one.id);
        if found.iter().any(is_new) {
            rows(&found, is_new, is_first, show)?;
            is_first = false;
        }
        // What is gone need not be remembered.
        known = now;
        tokio::time::sleep(PERIOD).await;
    }
}

fn rows(
    found: &[Found],
    is_new: impl Fn(&Found) -> bool,
    is_first: bool,
    show: &Show<'_>,
) -> Result<(), String> {
    let Format::Table { wide } = show.output else {
        let mut changed = found.iter().filter(|one| is_new(one));
        return changed.try_for_each(|one| print(std::slice::from_ref(one), true, show));
    };
    // All resources take part in the layout, so that columns stay where they are.
    let text = tables(found, *wide, show);
    let mut lines = text.split_inclusive('\n');
    let header = if show.with_headers {
        lines.next()
    } else {
        None
    };
    let shown = lines.zip(found).filter(|(_, one)| is_new(one));
    let shown = shown.map(|(line, _)| line);
    put(header
        .filter(|_| is_first)
        .into_iter()
        .chain(shown)
        .collect::<String>())
}
