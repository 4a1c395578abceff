//! What changes, as a unified diff.

use std::fmt::Write;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;
/// The largest table that is searched for the shortest difference; beyond it everything between the common
/// beginning and the common end is shown as replaced.
const LARGEST: usize = 16 << 20;

/// One line of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The difference between two texts; empty where there is none. `from` and `to` name them.
pub(crate) fn unified(from: &str, to: &str, before: &str, after: &str) -> String {
    let before: Vec<&str> = before.lines().collect();
    let after: Vec<&str> = after.lines().collect();
    let lines = lines(&before, &after);
    let mut text = String::new();
    let mut hunks = hunks(&lines).peekable();
    if hunks.peek().is_some() {
        let _ = writeln!(text, "--- {from}\n+++ {to}");
    }
    for hunk in hunks {
        let count = |lines: &[Line<'_>], is_old: bool| {
            let other = |line: &&Line<'_>| match line {
                Line::Same(_) => true,
                Line::Gone(_) => is_old,
                Line::New(_) => !is_old,
            };
            lines.iter().filter(other).count()
        };
        let range = |is_old: bool| {
            let length = count(&lines[hunk.clone()], is_old);
            // A range without lines is named by the line before it.
            let first = count(&lines[..hunk.start], is_old) + usize::from(length > 0);
            format!("{first},{length}")
        };
        let _ = writeln!(text, "@@ -{} +{} @@", range(true), range(false));
        for line in &lines[hunk] {
            let _ = match line {
                Line::Same(line) => writeln!(text, " {line}"),
                Line::Gone(line) => writeln!(text, "-{line}"),
                Line::New(line) => writeln!(text, "+{line}"),
            };
        }
    }
    text
}

/// A difference with the colours that terminals show for it.
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

fn hunks(lines: &[Line<'_>]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut hunks: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if matches!(line, Line::Same(_)) {
            continue;
        }
        let start = at.saturating_sub(CONTEXT);
        let end = (at + 1 + CONTEXT).min(lines.len());
        match hunks.last_mut() {
            Some(last) if start <= last.end => last.end = end,
            _ => hunks.push(start..end),
        }
    }
    hunks.into_iter()
}

fn lines<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Line<'a>> {
    let common = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let start = common(&mut before.iter().zip(after));
    let (before, after, head) = (&before[start..], &after[start..], &before[..start]);
    let end = common(&mut before.iter().rev().zip(after.iter().rev()));
    let (before, tail) = before.split_at(before.len() - end);
    let after = &after[..after.len() - end];
    let same = |lines: &[&'a str]| {
        lines
            .iter()
            .map(|line| Line::Same(line))
            .collect::<Vec<_>>()
    };
    let mut all = same(head);
    all.extend(middle(before, after));
    all.extend(same(tail));
    all
}

/// The difference of texts by their longest common subsequence.
fn middle<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Line<'a>> {
    let width = after.len() + 1;
    if before.len().saturating_mul(after.len()) > LARGEST {
        let gone = before.iter().map(|line| Line::Gone(line));
        return gone
            .chain(after.iter().map(|line| Line::New(line)))
            .collect();
    }
    // How many lines the rests from here on have in common.
    let mut common = vec![0_u32; (before.len() + 1) * width];
    for row in (0..before.len()).rev() {
        for column in (0..after.len()).rev() {
            common[row * width + column] = if before[row] == after[column] {
                common[(row + 1) * width + column + 1] + 1
            } else {
                common[(row + 1) * width + column].max(common[row * width + column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    let mut lines = Vec::new();
    while row < before.len() || column < after.len() {
        let is_old = row < before.len();
        let is_new = column < after.len();
        if is_old && is_new && before[row] == after[column] {
            lines.push(Line::Same(before[row]));
            (row, column) = (row + 1, column + 1);
        } else if is_old
            && (!is_new || common[(row + 1) * width + column] >= common[row * width + column + 1])
        {
            lines.push(Line::Gone(before[row]));
            row += 1;
        } else {
            lines.push(Line::New(after[column]));
            column += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let before: Vec<String> = (1..=20).map(|line| line.to_string()).collect();
        let mut after = before.clone();
        after[9] = "ten".into();
        after.push("end".into());
        let text = unified("a", "b", &before.join("\n"), &after.join("\n"));
        assert_eq!(
            text,
            "--- a\n+++ b\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n\
             @@ -18,3 +18,4 @@\n 18\n 19\n 20\n+end\n"
        );
        assert_eq!(unified("a", "b", "same\n", "same\n"), "");
        assert_eq!(
            unified("a", "b", "", "x\n"),
            "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n"
        );
    }

    /// Applying a difference to the old lines gives the new ones, and nothing that is common is replaced.
    #[test]
    fn every_difference_leads_from_one_text_to_the_other() {
        let texts = [
            "",
            "a b c",
            "a c",
            "b c a",
            "a b c a b",
            "x y",
            "a x b y c",
            "c c c",
        ];
        for one in texts {
            for other in texts {
                let before: Vec<&str> = one.split_whitespace().collect();
                let after: Vec<&str> = other.split_whitespace().collect();
                let lines = lines(&before, &after);
                let side = |skip: fn(&Line<'_>) -> bool| -> Vec<&str> {
                    let kept = lines.iter().filter(|line| !skip(line));
                    kept.map(|line| match line {
                        Line::Same(line) | Line::Gone(line) | Line::New(line) => *line,
                    })
                    .collect()
                };
                assert_eq!(side(|line| matches!(line, Line::New(_))), before);
                assert_eq!(side(|line| matches!(line, Line::Gone(_))), after);
                if one == other {
                    assert!(lines.iter().all(|line| matches!(line, Line::Same(_))));
                }
            }
        }
    }

    #[test]
    fn colours_leave_the_text_as_it_is() {
        let diff = unified("a", "b", "x\ny\n", "x\nz\n");
        let coloured = coloured(&diff);
        assert!(coloured.contains("\u{1b}[31m-y\u{1b}[0m\n"), "{coloured}");
        assert!(coloured.contains("\n x\n"), "{coloured}");
    }
}
