//! Escaping of terminal output.
//!
//! Names, labels, messages and reasons come from manifests, proxies and servers, which are not trusted. A control
//! character in them could move the cursor, hide lines or simulate input, so all output passes [`escaped`].

use crate::error::{Error, Result};
use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt::{Display, Write as _},
    io::{self, IsTerminal, Write as _},
};
use tombolo_telemetry::ErrorChain;

/// Escapes the characters that a terminal interprets: line feeds and tabs stay, other control characters and
/// bidirectional formatting characters become `\u{1b}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, |letter| {
        !matches!(letter, '\n' | '\t') && is_unsafe(letter)
    })
}

/// As [`escaped`], for single lines: line feeds and tabs are escaped too.
pub fn escaped_line(text: &str) -> Cow<'_, str> {
    replaced(text, is_unsafe)
}

/// As [`escaped_line`], truncated to a number of characters.
pub(crate) fn bounded_line(text: &str, max: usize) -> String {
    let line = escaped_line(text);
    match line.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into_owned(),
    }
}

fn replaced(text: &str, is_replaced: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_replaced(letter) {
            let _ = write!(safe, "{}", letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and bidirectional overrides and isolates.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Prints escaped text.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: impl Display) -> Result<()> {
    write(escaped(&text.to_string()).as_bytes())
}

/// Prints coloured text that was escaped already.
pub(crate) fn print_coloured(text: &str) -> Result<()> {
    write(text.as_bytes())
}

/// Prints data for programs: escaped on a terminal, unchanged into a pipe.
pub(crate) fn print_data(text: &str) -> Result<()> {
    if io::stdout().is_terminal() {
        return print(text);
    }
    write(text.as_bytes())
}

/// Ends the program when the reader has closed the pipe (`| head`).
fn write(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(Error::Output),
    }
}

/// Prints an error with all its causes to standard error.
pub fn error(error: &(dyn StdError + 'static)) {
    note("error", &ErrorChain(error).to_string());
}

/// Prints a warning to standard error. Problems of manifests already contain `warning:`; the word is not repeated.
pub fn warning(text: impl Display) {
    note(
        "warning",
        &text.to_string().replacen(": warning: ", ": ", 1),
    );
}

/// Prints a message to standard error after a label.
pub(crate) fn note(what: &str, text: &str) {
    // A closed standard error cannot be reported anywhere.
    let _ = writeln!(io::stderr().lock(), "{what}: {}", escaped(text));
}

/// Prints a progress line to standard error.
pub(crate) fn progress(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", escaped(&text.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        let hostile = "a\u{1b}]0;title\u{7}\u{9b}2J\u{7f}\r\u{202e}b";
        let safe = "a\\u{1b}]0;title\\u{7}\\u{9b}2J\\u{7f}\\r\\u{202e}b";
        assert_eq!(escaped(hostile), safe);
        assert_eq!(escaped_line("a\n\tb"), "a\\n\\tb");
    }

    #[test]
    fn text_in_any_language_is_printed_as_it_is() {
        let text = "grün 日本\n\tשלום";
        assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text));
    }
}
