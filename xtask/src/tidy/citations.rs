//! Citations and environment variables in the code must be in `docs/reference`.

use crate::process::{Result, root};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The page of all environment variables.
const ENVIRONMENT: &str = "docs/reference/environment.md";
/// Prefixes of the names of App Mesh's and Tombolo's variables.
const PREFIXES: [&str; 4] = ["TOMBOLO_", "APPMESH_", "ENVOY_", "LISTENER_"];

/// Checks that each `facts/PAGE.md §N` refers to a page and a section, and that each environment variable that a
/// program reads is documented.
pub(super) fn check(files: &[PathBuf], problems: &mut Vec<String>) -> Result<()> {
    let documented = read(&root().join(ENVIRONMENT))?;
    for file in files {
        let text = read(file)?;
        let shown = file
            .strip_prefix(root())
            .unwrap_or(file)
            .display()
            .to_string();
        // This crate has examples of citations.
        if shown.starts_with("xtask") {
            continue;
        }
        let is_test = shown.contains("tests");
        for (number, line) in text.lines().enumerate() {
            let at = format!("{shown}:{}", number + 1);
            for citation in citations(line) {
                if let Some(problem) = dangling(citation)? {
                    problems.push(format!("{at}: {problem}"));
                }
            }
            let undocumented = variables(line)
                .filter(|name| !is_test && !documented.contains(&format!("`{name}`")));
            for name in undocumented {
                problems.push(format!("{at}: {name} is not in {ENVIRONMENT}"));
            }
        }
    }
    Ok(())
}

/// The rests of a line after each `facts/`.
fn citations(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("facts/").map(|(at, _)| &line[at..])
}

/// The reason why a citation is dangling; `None` if it is not.
fn dangling(citation: &str) -> Result<Option<String>> {
    let Some((page, rest)) = citation.split_once(".md") else {
        return Ok(None);
    };
    let path = root().join("docs/reference").join(format!("{page}.md"));
    if !path.is_file() {
        return Ok(Some(format!("{page}.md is not in docs/reference")));
    }
    // `facts/x.md §7`, or after a backtick `facts/x.md` section 7.
    let rest = rest.trim_start_matches(['`', ',', ' ']);
    let section = ["§", "section "]
        .iter()
        .find_map(|mark| rest.strip_prefix(mark));
    let Some(section) = section else {
        return Ok(None);
    };
    let digits = section.chars().take_while(char::is_ascii_digit);
    let heading = format!("\n## §{}. ", digits.collect::<String>());
    let is_there = read(&path)?.contains(&heading);
    Ok((!is_there).then(|| format!("{page}.md has no heading {:?}", heading.trim())))
}

/// Quoted names of environment variables.
fn variables(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split('"').skip(1).step_by(2);
    words.filter(|word| {
        let is_name =
            |letter: char| letter.is_ascii_uppercase() || letter == '_' || letter.is_ascii_digit();
        let rest = PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix));
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_name))
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
