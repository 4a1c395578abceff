//! Regular expressions: `safe_regex` and `regex_rewrite`.

use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use regex::Regex;

use super::error::{ConfigError, ConfigResult, ErrorContext};
use super::field::field;

/// Maximum compiled size of one regular expression, in bytes. Envoy limits the program size of RE2 for the same
/// purpose.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// A regular expression that must match the whole value, as Envoy's `safe_regex` does.
pub(crate) fn full_regex(value: &matcher::RegexMatcher, ignore_case: bool) -> ConfigResult<Regex> {
    let flags = if ignore_case { "(?i)" } else { "" };
    regex(&format!("{flags}^(?:{})$", value.regex))
}

/// A regular expression that may match anywhere, for substitutions.
pub(crate) fn regex(pattern: &str) -> ConfigResult<Regex> {
    regex::RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE_LIMIT)
        .build()
        .map_err(|error| ConfigError::new("regex", error.to_string()))
}

/// A regular-expression substitution (`regex_rewrite`).
#[derive(Debug)]
pub(crate) struct Substitution {
    pattern: Regex,
    replacement: String,
}

impl Substitution {
    pub(crate) fn compile(value: &matcher::RegexMatchAndSubstitute) -> ConfigResult<Self> {
        let pattern = field!(value.pattern).required()?;
        let pattern = regex(&pattern.regex).context("pattern")?;
        Ok(Self {
            pattern,
            replacement: from_re2_replacement(&value.substitution),
        })
    }

    pub(crate) fn apply(&self, text: &str) -> String {
        self.pattern
            .replace_all(text, self.replacement.as_str())
            .into_owned()
    }
}

/// RE2 writes groups as `\1` and a backslash as `\\`; the regex crate writes them `${1}` and `\`.
fn from_re2_replacement(substitution: &str) -> String {
    let mut out = String::with_capacity(substitution.len());
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn re2_groups_become_regex_groups() {
        assert_eq!(from_re2_replacement(r"/\2/\1$x\\"), r"/${2}/${1}$$x\");
    }
}
