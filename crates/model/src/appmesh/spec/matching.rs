//! How requests are matched by routes and gateway routes.

use super::problem::{Checked, Problem, exactly_one, list, text};
use serde::{Deserialize, Serialize};

/// A match on a header (or on gRPC metadata).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// 1 to 50 characters.
    pub name: String,
    /// Whether the result is negated. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invert: Option<bool>,
    /// How the value is matched; absent means that the header must be present.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matcher: Option<ValueMatch>,
}

/// How a value is matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueMatch {
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// A whole number in a range.
    Range(Range),
    /// Matched as a whole by a regular expression (RE2).
    Regex(String),
    /// Ends with.
    Suffix(String),
}

/// From `start`, included, to `end`, excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Included.
    pub start: i64,
    /// Excluded.
    pub end: i64,
}

/// A match on a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryMatch {
    /// The parameter's name.
    pub name: String,
    /// Absent means that the parameter must be present.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matcher: Option<QueryValueMatch>,
}

/// How a query parameter's value is matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryValueMatch {
    /// Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
}

/// A match on the whole path: exactly one member is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMatch {
    /// Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Matched as a whole by a regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// An HTTP method.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl Method {
    /// The method as HTTP spells it.
    pub fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
        }
    }
}

/// A match on the host of a request at a gateway: exactly one member is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostnameMatch {
    /// Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Ends with, usually starting with a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

impl ValueMatch {
    fn check(&self, at: &str) -> Checked {
        match self {
            ValueMatch::Exact(value) => text(&format!("{at}.exact"), value, 1..=255),
            ValueMatch::Prefix(value) => text(&format!("{at}.prefix"), value, 1..=255),
            ValueMatch::Regex(value) => text(&format!("{at}.regex"), value, 1..=255),
            ValueMatch::Suffix(value) => text(&format!("{at}.suffix"), value, 1..=255),
            ValueMatch::Range(range) if range.end > range.start => Ok(()),
            ValueMatch::Range(_) => Err(Problem::new(
                format!("{at}.range"),
                "end must be greater than start",
            )),
        }
    }
}

pub(crate) fn check_headers(at: &str, headers: Option<&[HeaderMatch]>) -> Checked {
    let Some(headers) = headers else {
        return Ok(());
    };
    list(at, headers, 1..=10)?;
    for (i, header) in headers.iter().enumerate() {
        text(&format!("{at}[{i}].name"), &header.name, 1..=50)?;
        if let Some(matcher) = &header.matcher {
            matcher.check(&format!("{at}[{i}].match"))?;
        }
    }
    Ok(())
}

pub(crate) fn check_queries(at: &str, queries: Option<&[QueryMatch]>) -> Checked {
    queries.map_or(Ok(()), |queries| list(at, queries, 1..=10))
}

impl PathMatch {
    pub(crate) fn check(&self, at: &str) -> Checked {
        exactly_one(
            at,
            &[
                ("exact", self.exact.is_some()),
                ("regex", self.regex.is_some()),
            ],
        )?;
        for value in self.exact.iter().chain(&self.regex) {
            text(at, value, 1..=255)?;
        }
        match &self.exact {
            Some(path) if !path.starts_with('/') => {
                Err(Problem::new(format!("{at}.exact"), "must start with /"))
            }
            _ => Ok(()),
        }
    }
}

impl HostnameMatch {
    pub(crate) fn check(&self, at: &str) -> Checked {
        exactly_one(
            at,
            &[
                ("exact", self.exact.is_some()),
                ("suffix", self.suffix.is_some()),
            ],
        )?;
        for value in self.exact.iter().chain(&self.suffix) {
            text(at, value, 1..=253)?;
        }
        Ok(())
    }
}
