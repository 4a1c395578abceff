//! String matchers (`envoy.type.matcher.v3.StringMatcher`).

use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use regex::Regex;

use super::error::{ConfigError, ConfigResult, ErrorContext};
use super::regex::full_regex;

/// A string matcher (`envoy.type.matcher.v3.StringMatcher`).
#[derive(Debug)]
pub(crate) enum StringMatcher {
    Literal {
        text: String,
        kind: LiteralKind,
        /// Ignores the case of ASCII letters and of no others, as Envoy's `StringMatcherImpl` does (absl's
        /// `EqualsIgnoreCase`, `StartsWithIgnoreCase` and `EndsWithIgnoreCase`).
        ignore_case: bool,
    },
    Regex(Regex),
}

/// The kind of a literal match: exact, prefix, suffix or contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    Exact,
    Prefix,
    Suffix,
    Contains,
}

impl StringMatcher {
    pub(crate) fn literal(kind: LiteralKind, text: &str, ignore_case: bool) -> Self {
        Self::Literal {
            text: text.to_owned(),
            kind,
            ignore_case,
        }
    }

    pub(crate) fn compile(value: &matcher::StringMatcher) -> ConfigResult<Self> {
        use matcher::string_matcher::MatchPattern;
        let literal = |kind, text: &str| Ok(Self::literal(kind, text, value.ignore_case));
        match &value.match_pattern {
            Some(MatchPattern::Exact(text)) => literal(LiteralKind::Exact, text),
            Some(MatchPattern::Prefix(text)) => literal(LiteralKind::Prefix, text),
            Some(MatchPattern::Suffix(text)) => literal(LiteralKind::Suffix, text),
            Some(MatchPattern::Contains(text)) => literal(LiteralKind::Contains, text),
            Some(MatchPattern::SafeRegex(pattern)) => {
                let regex = full_regex(pattern, value.ignore_case).context("safe_regex")?;
                Ok(Self::Regex(regex))
            }
            Some(MatchPattern::Custom(_)) => Err(ConfigError::unsupported("custom")),
            None => Err(ConfigError::new("match_pattern", "is required")),
        }
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        let (text, kind, ignore_case) = match self {
            Self::Regex(regex) => return regex.is_match(value),
            Self::Literal {
                text,
                kind,
                ignore_case,
            } => (text.as_bytes(), kind, *ignore_case),
        };
        let value = value.as_bytes();
        let is_text =
            |bytes: &[u8]| bytes == text || ignore_case && bytes.eq_ignore_ascii_case(text);
        match kind {
            LiteralKind::Exact => is_text(value),
            LiteralKind::Prefix => value.get(..text.len()).is_some_and(is_text),
            LiteralKind::Suffix => {
                let start = value.len().checked_sub(text.len());
                start.is_some_and(|start| is_text(&value[start..]))
            }
            LiteralKind::Contains if ignore_case => {
                text.is_empty() || value.windows(text.len()).any(is_text)
            }
            LiteralKind::Contains => memchr::memmem::find(value, text).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_compared_with_a_part_of_the_value() {
        use LiteralKind::{Contains, Exact, Prefix, Suffix};
        for (kind, text, ignore_case, value, expected) in [
            (Exact, "red", false, "red", true),
            (Exact, "red", false, "Red", false),
            (Exact, "Red", true, "rED", true),
            (Exact, "red", true, "reddish", false),
            // Only ASCII letters are folded, as by absl in Envoy.
            (Exact, "é", true, "É", false),
            (Prefix, "re", true, "RED", true),
            (Prefix, "red", true, "re", false),
            (Suffix, "ed", false, "red", true),
            (Suffix, "red", false, "ed", false),
            (Contains, "e", false, "red", true),
            (Contains, "E", false, "red", false),
            (Contains, "E", true, "red", true),
            (Contains, "", true, "", true),
        ] {
            let matched = StringMatcher::literal(kind, text, ignore_case).matches(value);
            assert_eq!(matched, expected, "{kind:?} {text} {ignore_case} {value}");
        }
    }
}
