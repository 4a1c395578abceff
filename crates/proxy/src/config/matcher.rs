//! Predicates of a route: path, headers, query parameters, gRPC.

use std::borrow::Cow;

use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::field::{Wrapped, field};
use super::regex::full_regex;
use super::request_field::RequestField;
use super::string_matcher::{LiteralKind, StringMatcher};
use envoy_types::pb::envoy::config::route::v3 as proto;
use http::{HeaderMap, Method, header};

/// The parts of a request that route matching reads.
#[derive(Clone, Copy)]
pub(crate) struct RequestView<'a> {
    pub(crate) method: &'a Method,
    pub(crate) authority: &'a str,
    /// The path without the query.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) scheme: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) path: PathMatch,
    /// Predicates other than the path. Boxed and absent in most routes, so that the common route is small.
    rest: Option<Box<Remainder>>,
}

#[derive(Debug)]
pub(crate) enum PathMatch {
    Any,
    String(StringMatcher),
    /// `/a` matches `/a` and `/a/b`, not `/ab`.
    Segments {
        prefix: StringMatcher,
        length: usize,
    },
}

#[derive(Debug)]
struct Remainder {
    headers: Vec<HeaderMatch>,
    query: Vec<QueryMatch>,
    grpc: bool,
}

#[derive(Debug)]
struct HeaderMatch {
    field: RequestField,
    test: HeaderTest,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Debug)]
enum HeaderTest {
    Present(bool),
    String(StringMatcher),
    /// Half-open range.
    Range(i64, i64),
}

#[derive(Debug)]
struct QueryMatch {
    name: String,
    test: Option<StringMatcher>,
    present: bool,
}

impl Match {
    pub(crate) fn compile(value: &proto::RouteMatch) -> ConfigResult<Self> {
        reject_set!(value; runtime_fraction, cookies, tls_context, dynamic_metadata, filter_state);
        let path = path(value)?;
        let headers = field!(value.headers).each(HeaderMatch::compile)?;
        let query = field!(value.query_parameters).each(QueryMatch::compile)?;
        let grpc = value.grpc.is_some();
        let rest = (grpc || !headers.is_empty() || !query.is_empty()).then(|| {
            Box::new(Remainder {
                headers,
                query,
                grpc,
            })
        });
        Ok(Self { path, rest })
    }

    pub(crate) fn matches(&self, request: &RequestView<'_>) -> bool {
        self.path.matches(request.path)
            && self.rest.as_ref().is_none_or(|rest| rest.matches(request))
    }
}

fn path(value: &proto::RouteMatch) -> ConfigResult<PathMatch> {
    use proto::route_match::PathSpecifier;
    let ignore_case = !value.case_sensitive.value_or(true);
    let literal = |kind, text: &str| StringMatcher::literal(kind, text, ignore_case);
    Ok(match &value.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) if prefix.is_empty() || prefix == "/" => PathMatch::Any,
        Some(PathSpecifier::Prefix(prefix)) => {
            PathMatch::String(literal(LiteralKind::Prefix, prefix))
        }
        Some(PathSpecifier::Path(path)) => PathMatch::String(literal(LiteralKind::Exact, path)),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => PathMatch::Segments {
            prefix: literal(LiteralKind::Prefix, prefix),
            length: prefix.len(),
        },
        Some(PathSpecifier::SafeRegex(regex)) => {
            let regex = full_regex(regex, false).context("safe_regex")?;
            PathMatch::String(StringMatcher::Regex(regex))
        }
        Some(PathSpecifier::ConnectMatcher(_)) => {
            return Err(ConfigError::unsupported("connect_matcher"));
        }
        Some(PathSpecifier::PathMatchPolicy(_)) => {
            return Err(ConfigError::unsupported("path_match_policy"));
        }
        None => return Err(ConfigError::new("path_specifier", "is required")),
    })
}

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::String(text) => text.matches(path),
            Self::Segments { prefix, length } => {
                prefix.matches(path) && matches!(path.as_bytes().get(*length), None | Some(b'/'))
            }
        }
    }

    /// The number of bytes of a matching path that `prefix_rewrite` replaces; `None` replaces the whole path.
    pub(crate) fn rewritten_length(&self) -> Option<usize> {
        match self {
            Self::Any => Some(1),
            Self::Segments { length, .. } => Some(*length),
            Self::String(StringMatcher::Literal {
                text,
                kind: LiteralKind::Prefix,
                ..
            }) => Some(text.len()),
            Self::String(_) => None,
        }
    }
}

impl Remainder {
    fn matches(&self, request: &RequestView<'_>) -> bool {
        (!self.grpc || is_grpc(request.headers))
            && self.headers.iter().all(|header| header.matches(request))
            && (self.query.is_empty()
                || self.query.iter().all(|query| query.matches(request.query)))
    }
}

/// `application/grpc`, alone or with a suffix such as `+proto`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl HeaderMatch {
    pub(crate) fn compile(value: &proto::HeaderMatcher) -> ConfigResult<Self> {
        use proto::header_matcher::HeaderMatchSpecifier as Spec;
        let field = RequestField::parse(&value.name).ok_or_else(|| {
            ConfigError::new("name", format!("{:?} is not a header name", value.name))
        })?;
        let literal =
            |kind, text: &str| HeaderTest::String(StringMatcher::literal(kind, text, false));
        let test = match &value.header_match_specifier {
            None => HeaderTest::Present(true),
            Some(Spec::PresentMatch(present)) => HeaderTest::Present(*present),
            Some(Spec::StringMatch(text)) => {
                HeaderTest::String(StringMatcher::compile(text).context("string_match")?)
            }
            Some(Spec::ExactMatch(text)) => literal(LiteralKind::Exact, text),
            Some(Spec::PrefixMatch(text)) => literal(LiteralKind::Prefix, text),
            Some(Spec::SuffixMatch(text)) => literal(LiteralKind::Suffix, text),
            Some(Spec::ContainsMatch(text)) => literal(LiteralKind::Contains, text),
            Some(Spec::SafeRegexMatch(regex)) => {
                let regex = full_regex(regex, false).context("safe_regex_match")?;
                HeaderTest::String(StringMatcher::Regex(regex))
            }
            Some(Spec::RangeMatch(range)) => HeaderTest::Range(range.start, range.end),
        };
        Ok(Self {
            field,
            test,
            invert: value.invert_match,
            missing_is_empty: value.treat_missing_header_as_empty,
        })
    }

    fn matches(&self, request: &RequestView<'_>) -> bool {
        let value = self.value(request);
        let matched = match (&self.test, value) {
            (HeaderTest::Present(wanted), value) => value.is_some() == *wanted,
            (HeaderTest::String(text), Some(value)) => text.matches(&value),
            (HeaderTest::String(text), None) if self.missing_is_empty => text.matches(""),
            (HeaderTest::Range(start, end), Some(value)) => value
                .parse::<i64>()
                .is_ok_and(|number| number >= *start && number < *end),
            // A missing header never matches a value, and inversion does not turn it into a match either.
            (_, None) => return false,
        };
        matched != self.invert
    }

    /// Several values of one name are joined with commas and compared as one.
    fn value<'a>(&self, request: &RequestView<'a>) -> Option<Cow<'a, str>> {
        match &self.field {
            RequestField::Method => Some(request.method.as_str().into()),
            RequestField::Path => Some(match request.query {
                None => request.path.into(),
                Some(query) => format!("{}?{query}", request.path).into(),
            }),
            RequestField::Authority => Some(request.authority.into()),
            RequestField::Scheme => Some(request.scheme.into()),
            RequestField::Header(name) => {
                let mut values = request.headers.get_all(name).iter();
                let mut joined = String::from_utf8_lossy(values.next()?.as_bytes());
                for value in values {
                    let joined = joined.to_mut();
                    joined.push(',');
                    joined.push_str(&String::from_utf8_lossy(value.as_bytes()));
                }
                Some(joined)
            }
        }
    }
}

impl QueryMatch {
    fn compile(value: &proto::QueryParameterMatcher) -> ConfigResult<Self> {
        use proto::query_parameter_matcher::QueryParameterMatchSpecifier as Spec;
        let (test, present) = match &value.query_parameter_match_specifier {
            None => (None, true),
            Some(Spec::PresentMatch(present)) => (None, *present),
            Some(Spec::StringMatch(text)) => (
                Some(StringMatcher::compile(text).context("string_match")?),
                true,
            ),
        };
        Ok(Self {
            name: value.name.clone(),
            test,
            present,
        })
    }

    fn matches(&self, query: Option<&str>) -> bool {
        let found = query.unwrap_or_default().split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name == self.name).then_some(value)
        });
        match (&self.test, found) {
            (None, found) => found.is_some() == self.present,
            (Some(text), Some(value)) => text.matches(value),
            (Some(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests;
