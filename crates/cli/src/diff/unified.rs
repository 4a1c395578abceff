//! Unified diffs of two texts.

use similar::TextDiff;
use std::{fmt::Write, time::Duration};

/// Unchanged lines shown around a change.
const CONTEXT: usize = 3;
/// Deadline for finding the shortest difference; then a longer one is used.
const DEADLINE: Duration = Duration::from_secs(2);

/// The difference between two texts; empty when they are equal. `from` and `to` are their names.
pub(crate) fn diff(from: &str, to: &str, before: &str, after: &str) -> String {
    let mut config = TextDiff::configure();
    let diff = config.timeout(DEADLINE).diff_lines(before, after);
    let mut diff = diff.unified_diff();
    let diff = diff.context_radius(CONTEXT).header(from, to);
    diff.missing_newline_hint(false).to_string()
}

/// A difference with terminal colours.
pub(crate) fn coloured(diff: &str) -> String {
    let mut text = String::new();
    for line in diff.lines() {
        let colour = match line.as_bytes() {
            [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => "1",
            [b'-', ..] => "31",
            [b'+', ..] => "32",
            [b'@', ..] => "36",
            _ => {
                text.push_str(line);
                text.push('\n');
                continue;
            }
        };
        let _ = writeln!(text, "\u{1b}[{colour}m{line}\u{1b}[0m");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let before: String = (1..=20).map(|line| format!("{line}\n")).collect();
        let after = before.replace("10\n", "ten\n") + "end\n";
        assert_eq!(
            diff("a", "b", &before, &after),
            "--- a\n+++ b\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n\
             @@ -18,3 +18,4 @@\n 18\n 19\n 20\n+end\n"
        );
        assert_eq!(diff("a", "b", "same\n", "same\n"), "");
        let created = diff("a", "b", "", "x\n");
        assert!(created.ends_with("@@\n+x\n"), "{created}");
    }

    #[test]
    fn colours_leave_the_text_as_it_is() {
        let coloured = coloured(&diff("a", "b", "x\ny\n", "x\nz\n"));
        assert!(coloured.contains("\u{1b}[31m-y\u{1b}[0m\n"), "{coloured}");
        assert!(coloured.contains("\n x\n"), "{coloured}");
    }
}
