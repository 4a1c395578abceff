//! Makes text of a peer safe to keep, log and print: bounded, and without the control characters of terminals.

use std::fmt::Write;

/// The longest text of a peer in a line of the log.
const MAX_LOG_BYTES: usize = 256;

/// The text with its control characters escaped, cut to about `max_bytes`. What is cut ends with `…`.
pub(crate) fn text(text: String, max_bytes: usize) -> String {
    if text.len() <= max_bytes && !text.contains(is_unprintable) {
        return text;
    }
    escaped(&text, max_bytes)
}

/// The same, cut for a line of the log.
pub(crate) fn log_text(text: &str) -> String {
    escaped(text, MAX_LOG_BYTES)
}

fn escaped(text: &str, max_bytes: usize) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if escaped.len() + c.len_utf8() > max_bytes {
            escaped.push('…');
            break;
        }
        if is_unprintable(c) {
            let _ = write!(escaped, "{}", c.escape_default()); // Writing to a string does not fail.
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Control characters, and those that turn the direction of text or end its line.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_texts_are_cut() {
        assert_eq!(text("as it is, é".into(), 20), "as it is, é");
        assert_eq!(
            text("\u{1b}[31mred\n\u{202e}".into(), 100),
            r"\u{1b}[31mred\n\u{202e}"
        );
        assert_eq!(text("ééé".into(), 5), "éé…");
        let long = text("\u{1b}".repeat(70_000), 1000);
        assert!(long.len() < 1020, "{}", long.len());
    }
}
