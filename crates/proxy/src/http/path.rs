//! Paths: normalization after RFC 3986, and rewriting by routes.

use std::borrow::Cow;

use crate::config::action::PathRewrite;
use crate::config::matcher::PathMatch;

/// Removes dot segments, decodes percent-encoded unreserved characters, encodes characters that a path must not
/// contain and turns backslashes into slashes, as Envoy's `normalize_path` does. Other percent-encodings stay. `None`
/// when the path is not absolute, or contains an encoded NUL.
pub(crate) fn normalize(path: &str) -> Option<Cow<'_, str>> {
    if !path.starts_with('/') {
        return None;
    }
    let suspicious = path
        .bytes()
        .any(|byte| byte == b'%' || replacement(byte).is_some());
    if !suspicious && !path.contains("/.") {
        return Some(path.into());
    }
    let decoded = canonical(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = decoded.split('/').skip(1).peekable();
    while let Some(segment) = parts.next() {
        let last = parts.peek().is_none();
        match segment {
            "." if last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            other => segments.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    Some(out.into())
}

/// The percent-encoding of a character that a path must not contain literally.
fn replacement(byte: u8) -> Option<&'static str> {
    Some(match byte {
        b'\\' => "/",
        b'"' => "%22",
        b'<' => "%3C",
        b'>' => "%3E",
        b'^' => "%5E",
        b'`' => "%60",
        b'{' => "%7B",
        b'|' => "%7C",
        b'}' => "%7D",
        _ => return None,
    })
}

/// The path with each character in its canonical spelling. `None` for an encoded NUL.
fn canonical(path: &str) -> Option<String> {
    let hex = |byte: Option<&u8>| (*byte? as char).to_digit(16);
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut copied = 0;
    let mut index = 0;
    while index < bytes.len() {
        let (text, length) = match (
            bytes[index],
            hex(bytes.get(index + 1)),
            hex(bytes.get(index + 2)),
        ) {
            (b'%', Some(high), Some(low)) => match (high * 16 + low) as u8 {
                0 => return None,
                byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    (Some(byte as char), 3)
                }
                _ => (None, 3),
            },
            _ => (None, 1),
        };
        let replaced = replacement(bytes[index]);
        if text.is_some() || replaced.is_some() {
            out.push_str(&path[copied..index]);
            out.extend(text);
            out.push_str(replaced.unwrap_or_default());
            copied = index + length;
        }
        index += length;
    }
    out.push_str(&path[copied..]);
    Some(out)
}

/// Merges slashes: `//a///b` becomes `/a/b`.
pub(crate) fn merge_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return path.into();
    }
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out.into()
}

/// The rewritten path, or `None` when the route keeps it. The query is not part of either.
pub(crate) fn rewrite(rewrite: &PathRewrite, matched: &PathMatch, path: &str) -> Option<String> {
    match rewrite {
        PathRewrite::Keep => None,
        PathRewrite::Prefix(prefix) => {
            let rest = matched
                .rewritten_length()
                .map_or("", |length| path.get(length..).unwrap_or_default());
            Some(format!("{prefix}{rest}"))
        }
        PathRewrite::Regex(substitution) => Some(substitution.apply(path)),
        PathRewrite::Full(full) => Some(full.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::string_matcher::{LiteralKind, StringMatcher};

    #[test]
    fn dot_segments_are_resolved() {
        let normal = |path: &str| normalize(path).map(Cow::into_owned);
        assert_eq!(normal("/a/./b/../c"), Some("/a/c".to_owned()));
        assert_eq!(normal("/a/b/.."), Some("/a/".to_owned()));
        assert_eq!(normal("/../../x"), Some("/x".to_owned()));
        assert_eq!(normal("/%7Euser/%2e%2e/x%2Fy"), Some("/x%2Fy".to_owned()));
        assert_eq!(normal("/x%2fy%zz%"), Some("/x%2fy%zz%".to_owned()));
        assert_eq!(normal("/a|b\\c"), Some("/a%7Cb/c".to_owned()));
        assert_eq!(normal("/a%00"), None);
        assert_eq!(normal("/plain"), Some("/plain".to_owned()));
        assert_eq!(normal("*"), None);
    }

    #[test]
    fn slashes_merge() {
        assert_eq!(merge_slashes("//a///b/"), "/a/b/");
    }

    #[test]
    fn prefixes_are_replaced_and_exact_paths_replaced_whole() {
        let prefix = PathRewrite::Prefix("/".to_owned());
        let path = |kind, text| PathMatch::String(StringMatcher::literal(kind, text, false));
        for (matched, path, expected) in [
            (path(LiteralKind::Prefix, "/paths/"), "/paths/red", "/red"),
            (path(LiteralKind::Exact, "/x"), "/x", "/"),
            (path(LiteralKind::Prefix, "/x"), "/x", "/"),
        ] {
            let rewritten = rewrite(&prefix, &matched, path);
            assert_eq!(rewritten.as_deref(), Some(expected));
        }
        assert_eq!(rewrite(&PathRewrite::Keep, &PathMatch::Any, "/x"), None);
    }
}
