//! Each decision has a number of its own and a line in the index.

use crate::process::{Result, root};
use std::{collections::BTreeMap, fs};

/// Reads the names of `docs/decisions` and its index.
pub(super) fn check(problems: &mut Vec<String>) -> Result<()> {
    let folder = root().join("docs/decisions");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let index = fs::read_to_string(folder.join("README.md")).map_err(failed)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().display().to_string());
    }
    problems.extend(complaints(&mut names, &index));
    Ok(())
}

fn complaints(names: &mut [String], index: &str) -> Vec<String> {
    names.sort();
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    let mut complaints = Vec::new();
    for name in names.iter().filter(|name| *name != "README.md") {
        let number = name.split('-').next().unwrap_or_default();
        if let Some(other) = numbers.insert(number, name) {
            complaints.push(format!(
                "docs/decisions: {other} and {name} have the same number"
            ));
        }
        if !index.contains(&format!("({name})")) {
            complaints.push(format!(
                "docs/decisions/README.md has no line for {name}: add it"
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_all_are_in_the_index() {
        let mut names = ["README.md", "0001-a.md", "0002-b.md", "0002-c.md"].map(ToOwned::to_owned);
        let index = "| [1](0001-a.md) |\n| [2](0002-b.md) |";
        let complaints = complaints(&mut names, index);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("0002-b.md and 0002-c.md"));
        assert!(complaints[1].contains("no line for 0002-c.md"));
    }
}
