//! Match conditions of routes and gateway routes.

use super::{
    declare::{spec, union},
    references::Union,
};
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};
use std::ops::RangeInclusive;

spec! {
    /// A match on a header (or on gRPC metadata).
    pub struct HeaderMatch<R>: Validate {
        /// 1 to 50 characters.
        name: String [1..=50],
        /// Whether the result is negated. Absent means false.
        invert: Option<bool>,
        /// The condition on the value; absent means that the header must be present.
        matcher as "match": Option<R::Union<ValueMatch>>,
    }
}

union! {
    /// A condition on a value. Texts have 1 to 255 characters.
    pub enum ValueMatch {
        /// The value equals this text.
        Exact(String) as "exact" [1..=255],
        /// The value begins with this text.
        Prefix(String) as "prefix" [1..=255],
        /// The full value matches this regular expression (RE2).
        Regex(String) as "regex" [1..=255],
        /// The value ends with this text.
        Suffix(String) as "suffix" [1..=255],
        /// An integer in a range.
        Range(Range) as "range",
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

spec! {
    /// From `start`, included, to `end`, excluded.
    #[derive(Copy)]
    pub struct Range: Validate {
        /// Included.
        start: i64,
        /// Excluded.
        end: i64,
    }

    /// A match on a query parameter.
    pub struct QueryMatch {
        /// The parameter's name.
        name: String,
        /// Absent means that the parameter must be present.
        matcher as "match": Option<QueryValueMatch>,
    }

    /// A condition on the value of a query parameter.
    pub struct QueryValueMatch: Validate {
        /// The value equals this text.
        exact: Option<String>,
    }
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

spec! {
    /// A match on the whole path: exactly one member is given.
    pub struct PathMatch {
        /// Equal; starts with `/`, 1 to 255 characters.
        exact: Option<String> [1..=255],
        /// The whole path matches a regular expression (RE2), 1 to 255 characters.
        regex: Option<String> [1..=255],
    }
}

impl Validate for PathMatch {
    fn validate(&self, validator: &mut Validator) {
        validator.one_text_of([("exact", &self.exact), ("regex", &self.regex)], 255);
        // An empty one is reported already.
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

string_enum! {
    /// An HTTP method.
    #[allow(missing_docs)]
    pub enum Method {
        Get = "GET",
        Head = "HEAD",
        Post = "POST",
        Put = "PUT",
        Delete = "DELETE",
        Connect = "CONNECT",
        Options = "OPTIONS",
        Trace = "TRACE",
        Patch = "PATCH",
    }
}

spec! {
    /// A match on the host of a request at a gateway: exactly one member is given.
    pub struct HostnameMatch {
        /// Equal; 1 to 253 characters.
        exact: Option<String> [1..=253],
        /// Ends with, usually starting with a dot; 1 to 253 characters.
        suffix: Option<String> [1..=253],
    }
}

impl Validate for HostnameMatch {
    fn validate(&self, validator: &mut Validator) {
        validator.one_text_of([("exact", &self.exact), ("suffix", &self.suffix)], 253);
    }
}

/// How many headers, metadata or query parameters a match may name.
pub(super) const MATCHERS: RangeInclusive<i64> = 1..=10;

/// Headers, metadata or query parameters at `name`, if given.
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
