//! Sanitizes text of a peer before it is kept, logged or printed: bounds its length and escapes control characters.

use std::fmt::Write;

/// The maximum length of a peer's text in a log line.
const MAX_LOG_BYTES: usize = 256;

/// The text with control characters escaped, cut to about `max_bytes`. A cut text ends with `…`.
pub(crate) fn text(text: String, max_bytes: usize) -> String {
    if text.len() <= max_bytes && !text.contains(is_unprintable) {
        return text;
    }
    escaped(&text, max_bytes)
}

/// The text with control characters escaped, cut for a log line.
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

/// Whether this is a control character, or changes the direction of text or ends a line.
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
