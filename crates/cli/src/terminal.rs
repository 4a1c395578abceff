//! What reaches the terminal.
//!
//! Names, labels, messages and reasons come from manifests, proxies and servers, which are not trusted. A control
//! character in them could move the cursor, hide lines or type on the reader's behalf, so everything that is
//! printed passes [`escaped`].

use crate::error::{Error, Result};
use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt::{Display, Write as _},
    io::{self, IsTerminal, Write as _},
};
use tombolo_telemetry::ErrorChain;

/// A text without characters that a terminal acts on: line feeds and tabs stay, other control characters and
/// the marks that change the direction of writing become `\u{1b}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, |letter| {
        !matches!(letter, '\n' | '\t') && is_unsafe(letter)
    })
}

/// As [`escaped`], for what must stay on one line: line feeds and tabs are escaped too.
pub fn escaped_line(text: &str) -> Cow<'_, str> {
    replaced(text, is_unsafe)
}

/// As [`escaped_line`], cut to a number of characters.
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

/// Prints a text for people.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: impl Display) -> Result<()> {
    write(escaped(&text.to_string()).as_bytes())
}

/// Prints a text that was escaped already and has colours.
pub(crate) fn print_coloured(text: &str) -> Result<()> {
    write(text.as_bytes())
}

/// Prints data that programs read. A terminal gets it escaped, a pipe as it is.
pub(crate) fn print_data(text: &str) -> Result<()> {
    if io::stdout().is_terminal() {
        return print(text);
    }
    write(text.as_bytes())
}

/// A reader that went away (`| head`) has what it wanted: then the program ends.
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

/// Prints a warning to standard error. Problems of manifests say `FILE:LINE: warning: …`; the word is said once.
pub fn warning(text: impl Display) {
    note(
        "warning",
        &text.to_string().replacen(": warning: ", ": ", 1),
    );
}

/// Prints a message to standard error, led by what it is.
pub(crate) fn note(what: &str, text: &str) {
    // A closed standard error leaves nowhere to report to.
    let _ = writeln!(io::stderr().lock(), "{what}: {}", escaped(text));
}

/// Prints a line about progress to standard error.
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
