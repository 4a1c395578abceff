//! Paths: normalization as RFC 3986 has it, and rewriting by routes.

use std::borrow::Cow;

use crate::config::action::PathRewrite;
use crate::config::matcher::PathMatch;

/// Removes dot segments, decodes percent-encoded unreserved characters and turns backslashes into slashes, as Envoy's
/// `normalize_path` does. `None` when the path is not absolute.
pub(crate) fn normalize(path: &str) -> Option<Cow<'_, str>> {
    if !path.starts_with('/') {
        return None;
    }
    let bytes = path.as_bytes();
    let suspicious = bytes.iter().any(|b| matches!(b, b'%' | b'\\')) || path.contains("/.");
    if !suspicious {
        return Some(path.into());
    }
    let decoded = decode_unreserved(path);
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

fn decode_unreserved(path: &str) -> String {
    let bytes = path.as_bytes();
    let hex = |byte: u8| (byte as char).to_digit(16);
    let mut out = String::with_capacity(path.len());
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        if byte == b'\\' {
            out.push('/');
            index += 1;
            continue;
        }
        if byte == b'%'
            && let (Some(high), Some(low)) = (
                bytes.get(index + 1).and_then(|b| hex(*b)),
                bytes.get(index + 2).and_then(|b| hex(*b)),
            )
        {
            let value = (high * 16 + low) as u8;
            if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                out.push(value as char);
            } else {
                out.push('%');
                out.push((bytes[index + 1] as char).to_ascii_uppercase());
                out.push((bytes[index + 2] as char).to_ascii_uppercase());
            }
            index += 3;
            continue;
        }
        // A path from hyper is ASCII or valid UTF-8; copy whole characters.
        let rest = &path[index..];
        let Some(c) = rest.chars().next() else { break };
        out.push(c);
        index += c.len_utf8();
    }
    out
}

/// `//a///b` becomes `/a/b`.
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

    #[test]
    fn dot_segments_are_resolved() {
        let normal = |path: &str| normalize(path).map(Cow::into_owned);
        assert_eq!(normal("/a/./b/../c"), Some("/a/c".to_owned()));
        assert_eq!(normal("/a/b/.."), Some("/a/".to_owned()));
        assert_eq!(normal("/../../x"), Some("/x".to_owned()));
        assert_eq!(normal("/%7Euser/%2e%2e/x%2Fy"), Some("/x%2Fy".to_owned()));
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
        assert_eq!(
            rewrite(
                &prefix,
                &PathMatch::Prefix("/paths/".to_owned()),
                "/paths/red"
            ),
            Some("/red".to_owned())
        );
        assert_eq!(
            rewrite(&prefix, &PathMatch::Exact("/x".to_owned()), "/x"),
            Some("/".to_owned())
        );
        assert_eq!(
            rewrite(&prefix, &PathMatch::Prefix("/x".to_owned()), "/x"),
            Some("/".to_owned())
        );
        assert_eq!(rewrite(&PathRewrite::Keep, &PathMatch::Any, "/x"), None);
    }
}
