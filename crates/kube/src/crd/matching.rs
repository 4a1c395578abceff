//! What requests are matched by, in routes and gateway routes alike.

use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};

/// How a header or a piece of metadata is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// The whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A regular expression over the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// A number in `start..end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
}

/// Numbers from `start`, up to but not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First number inside.
    pub start: i64,
    /// First number beyond.
    pub end: i64,
}

impl Check for Matcher {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("exact", self.exact.is_some()),
            ("prefix", self.prefix.is_some()),
            ("regex", self.regex.is_some()),
            ("suffix", self.suffix.is_some()),
            ("range", self.range.is_some()),
        ]);
        checker.optional_length("exact", self.exact.as_ref(), 1, 255);
        checker.optional_length("prefix", self.prefix.as_ref(), 1, 255);
        checker.optional_length("regex", self.regex.as_ref(), 1, 255);
        checker.optional_length("suffix", self.suffix.as_ref(), 1, 255);
        if let Some(range) = self.range
            && range.end <= range.start
        {
            checker.deny(
                "range",
                format!(
                    "end {} must be greater than start {}",
                    range.end, range.start
                ),
            );
        }
    }
}

/// A header of HTTP, or a piece of gRPC metadata. Without a matcher its presence is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name, 1 to 50 characters.
    pub name: String,
    /// How its value is compared.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matcher: Option<Matcher>,
    /// Whether requests that do not match are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invert: Option<bool>,
}

impl Check for Header {
    fn check(&self, checker: &mut Checker) {
        checker.length("name", &self.name, 1, 50);
        checker.field("match", &self.matcher);
    }
}

/// How a path is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMatch {
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// A regular expression over the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

impl Check for PathMatch {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("exact", self.exact.is_some()),
            ("regex", self.regex.is_some()),
        ]);
        checker.optional_length("exact", self.exact.as_ref(), 1, 255);
        checker.optional_length("regex", self.regex.as_ref(), 1, 255);
    }
}

/// A query parameter. Without a match its presence is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryParameter {
    /// Its name.
    pub name: String,
    /// How its value is compared.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matcher: Option<QueryMatch>,
}

/// How a query parameter's value is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryMatch {
    /// The whole value; required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
}

impl Check for QueryParameter {
    fn check(&self, checker: &mut Checker) {
        checker.length("name", &self.name, 1, usize::MAX);
        if self
            .matcher
            .as_ref()
            .is_some_and(|matcher| matcher.exact.is_none())
        {
            checker.deny(
                "match",
                "needs exact; leave match out to ask for presence only",
            );
        }
    }
}

/// Method of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// CONNECT.
    Connect,
    /// DELETE.
    Delete,
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// PATCH.
    Patch,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// TRACE.
    Trace,
}

/// Scheme of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpScheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// Bounds shared by the HTTP matches of routes and gateway routes.
pub(super) fn check_http(
    checker: &mut Checker,
    path: Option<&PathMatch>,
    headers: Option<&Vec<Header>>,
    query: Option<&Vec<QueryParameter>>,
) {
    if let Some(path) = path {
        checker.field("path", path);
    }
    checker.items("headers", headers, 1, 10);
    checker.each(
        "headers",
        headers.map_or(&[], Vec::as_slice),
        |checker, header| header.check(checker),
    );
    checker.items("queryParameters", query, 1, 10);
    checker.each(
        "queryParameters",
        query.map_or(&[], Vec::as_slice),
        |checker, parameter| {
            parameter.check(checker);
        },
    );
}
