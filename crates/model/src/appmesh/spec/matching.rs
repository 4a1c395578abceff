//! How requests are matched by routes and gateway routes.

use super::references::{Names, References, Union};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// A match on a header (or on gRPC metadata).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct HeaderMatch<R: References = Names> {
    /// 1 to 50 characters.
    pub name: String,
    /// Whether the result is negated. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invert: Option<bool>,
    /// How the value is matched; absent means that the header must be present.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matcher: Option<R::Union<ValueMatch>>,
}

impl<R: References> Validate for HeaderMatch<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.length("name", &self.name, 1, 50);
        validator.field("match", &self.matcher);
    }
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

impl Union for ValueMatch {
    const MEMBERS: &'static [&'static str] = &["exact", "prefix", "regex", "suffix", "range"];

    fn member(&self) -> &'static str {
        match self {
            ValueMatch::Exact(_) => "exact",
            ValueMatch::Prefix(_) => "prefix",
            ValueMatch::Range(_) => "range",
            ValueMatch::Regex(_) => "regex",
            ValueMatch::Suffix(_) => "suffix",
        }
    }
}

impl Validate for ValueMatch {
    fn validate(&self, validator: &mut Validator) {
        match self {
            ValueMatch::Exact(text)
            | ValueMatch::Prefix(text)
            | ValueMatch::Regex(text)
            | ValueMatch::Suffix(text) => validator.length(self.member(), text, 1, 255),
            ValueMatch::Range(Range { start, end }) if end <= start => validator.deny(
                self.member(),
                format!("end must be greater than start; {end} is not greater than {start}"),
            ),
            ValueMatch::Range(_) => {}
        }
    }
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

impl Validate for QueryMatch {
    fn validate(&self, validator: &mut Validator) {
        if !validator.is_kubernetes() {
            return;
        }
        validator.length("name", &self.name, 1, usize::MAX);
        let matcher = self.matcher.as_ref();
        if matcher.is_some_and(|matcher| matcher.exact.is_none()) {
            let message = "needs exact; leave match out to ask for presence only";
            validator.deny("match", message);
        }
    }
}

/// A match on the whole path: exactly one member is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMatch {
    /// Equal; starts with `/`, 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Matched as a whole by a regular expression, 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

impl Validate for PathMatch {
    fn validate(&self, validator: &mut Validator) {
        validator.exactly_one(&[
            ("exact", self.exact.is_some()),
            ("regex", self.regex.is_some()),
        ]);
        validator.optional_length("exact", self.exact.as_ref(), 1, 255);
        validator.optional_length("regex", self.regex.as_ref(), 1, 255);
        // What is empty is told already.
        let exact = self.exact.as_ref().filter(|exact| !exact.is_empty());
        check_leading_slash(validator, "exact", exact);
    }
}

/// A path starts with `/`.
pub(super) fn check_leading_slash(
    validator: &mut Validator,
    name: &'static str,
    path: Option<&String>,
) {
    if let Some(path) = path
        && !path.starts_with('/')
    {
        validator.deny(name, format!("{path:?} must start with /"));
    }
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
    /// Equal; 1 to 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Ends with, usually starting with a dot; 1 to 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

impl Validate for HostnameMatch {
    fn validate(&self, validator: &mut Validator) {
        validator.exactly_one(&[
            ("exact", self.exact.is_some()),
            ("suffix", self.suffix.is_some()),
        ]);
        validator.optional_length("exact", self.exact.as_ref(), 1, 253);
        validator.optional_length("suffix", self.suffix.as_ref(), 1, 253);
    }
}

/// Headers, metadata or query parameters at `name`: 1 to 10, when given.
pub(super) fn check_list<T: Validate>(
    validator: &mut Validator,
    name: &'static str,
    list: Option<&Vec<T>>,
) {
    validator.items(name, list.map(Vec::as_slice), 1, 10);
    if let Some(list) = list {
        validator.field(name, list);
    }
}
