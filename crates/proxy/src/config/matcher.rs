//! Predicates of a route: path, headers, query parameters, gRPC.

use std::borrow::Cow;

use envoy_types::pb::envoy::config::route::v3 as proto;
use http::{HeaderMap, HeaderName, Method, header};
use regex::Regex;

use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::value::{Text, flag, full_regex};

/// The parts of a request that routes look at.
#[derive(Clone, Copy)]
pub(crate) struct RequestView<'a> {
    pub(crate) method: &'a Method,
    pub(crate) authority: &'a str,
    /// Without the query.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) scheme: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) path: PathMatch,
    /// Boxed and absent in most routes, so that the common route is small.
    rest: Option<Box<Remainder>>,
}

#[derive(Debug)]
pub(crate) enum PathMatch {
    Any,
    Prefix(String),
    PrefixFolded(String),
    Exact(String),
    ExactFolded(String),
    /// `/a` matches `/a` and `/a/b`, not `/ab`.
    Segments {
        prefix: String,
        case_sensitive: bool,
    },
    Regex(Regex),
}

#[derive(Debug)]
struct Remainder {
    headers: Vec<HeaderMatch>,
    query: Vec<QueryMatch>,
    grpc: bool,
}

#[derive(Debug)]
struct HeaderMatch {
    field: Field,
    test: HeaderTest,
    invert: bool,
    missing_is_empty: bool,
}

#[derive(Debug)]
enum Field {
    Method,
    Path,
    Authority,
    Scheme,
    Header(HeaderName),
}

#[derive(Debug)]
enum HeaderTest {
    Present(bool),
    Text(Text),
    /// Half-open.
    Range(i64, i64),
}

#[derive(Debug)]
struct QueryMatch {
    name: String,
    test: Option<Text>,
    present: bool,
}

impl Match {
    pub(crate) fn compile(value: &proto::RouteMatch) -> ConfigResult<Self> {
        reject_set!(value; runtime_fraction, cookies, tls_context, dynamic_metadata, filter_state);
        let path = path(value)?;
        let headers = value
            .headers
            .iter()
            .enumerate()
            .map(|(index, header)| {
                HeaderMatch::compile(header).context(format!("headers[{index}]"))
            })
            .collect::<ConfigResult<Vec<_>>>()?;
        let query = value
            .query_parameters
            .iter()
            .enumerate()
            .map(|(index, parameter)| {
                QueryMatch::compile(parameter).context(format!("query_parameters[{index}]"))
            })
            .collect::<ConfigResult<Vec<_>>>()?;
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
    let sensitive = flag(value.case_sensitive.as_ref(), true);
    Ok(match &value.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) if prefix.is_empty() || prefix == "/" => PathMatch::Any,
        Some(PathSpecifier::Prefix(prefix)) if sensitive => PathMatch::Prefix(prefix.clone()),
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::PrefixFolded(prefix.to_ascii_lowercase()),
        Some(PathSpecifier::Path(path)) if sensitive => PathMatch::Exact(path.clone()),
        Some(PathSpecifier::Path(path)) => PathMatch::ExactFolded(path.to_ascii_lowercase()),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            let prefix = if sensitive {
                prefix.clone()
            } else {
                prefix.to_ascii_lowercase()
            };
            PathMatch::Segments {
                prefix,
                case_sensitive: sensitive,
            }
        }
        Some(PathSpecifier::SafeRegex(regex)) => {
            PathMatch::Regex(full_regex(regex, false).context("safe_regex")?)
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
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::PrefixFolded(prefix) => starts_with_folded(path, prefix),
            Self::Exact(exact) => path == exact,
            Self::ExactFolded(exact) => path.eq_ignore_ascii_case(exact),
            Self::Segments {
                prefix,
                case_sensitive,
            } => {
                let starts = if *case_sensitive {
                    path.starts_with(prefix.as_str())
                } else {
                    starts_with_folded(path, prefix)
                };
                starts && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// How many bytes of a matching path `prefix_rewrite` replaces; `None` replaces all of it.
    pub(crate) fn rewritten_length(&self) -> Option<usize> {
        match self {
            Self::Any => Some(1),
            Self::Prefix(prefix) | Self::PrefixFolded(prefix) | Self::Segments { prefix, .. } => {
                Some(prefix.len())
            }
            Self::Exact(_) | Self::ExactFolded(_) | Self::Regex(_) => None,
        }
    }
}

fn starts_with_folded(path: &str, prefix: &str) -> bool {
    path.as_bytes()
        .get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
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
        let field =
            match value.name.to_ascii_lowercase().as_str() {
                ":method" => Field::Method,
                ":path" => Field::Path,
                ":authority" | "host" => Field::Authority,
                ":scheme" => Field::Scheme,
                name => Field::Header(HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                    ConfigError::new("name", format!("{name:?} is not a header name"))
                })?),
            };
        let test = match &value.header_match_specifier {
            None => HeaderTest::Present(true),
            Some(Spec::PresentMatch(present)) => HeaderTest::Present(*present),
            Some(Spec::StringMatch(text)) => {
                HeaderTest::Text(Text::compile(text).context("string_match")?)
            }
            Some(Spec::ExactMatch(text)) => HeaderTest::Text(Text::Exact(text.clone())),
            Some(Spec::PrefixMatch(text)) => HeaderTest::Text(Text::Prefix(text.clone())),
            Some(Spec::SuffixMatch(text)) => HeaderTest::Text(Text::Suffix(text.clone())),
            Some(Spec::ContainsMatch(text)) => HeaderTest::Text(Text::Contains(text.clone())),
            Some(Spec::SafeRegexMatch(regex)) => HeaderTest::Text(Text::Regex(
                full_regex(regex, false).context("safe_regex_match")?,
            )),
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
            (HeaderTest::Text(text), Some(value)) => text.matches(&value),
            (HeaderTest::Text(text), None) if self.missing_is_empty => text.matches(""),
            (HeaderTest::Range(start, end), Some(value)) => value
                .parse::<i64>()
                .is_ok_and(|number| number >= *start && number < *end),
            // A missing header never matches a value, and inversion does not turn it into a match either.
            (_, None) => return false,
        };
        matched != self.invert
    }

    /// Several values of one name are compared as one, joined with commas.
    fn value<'a>(&self, request: &RequestView<'a>) -> Option<Cow<'a, str>> {
        match &self.field {
            Field::Method => Some(request.method.as_str().into()),
            Field::Path => Some(match request.query {
                None => request.path.into(),
                Some(query) => format!("{}?{query}", request.path).into(),
            }),
            Field::Authority => Some(request.authority.into()),
            Field::Scheme => Some(request.scheme.into()),
            Field::Header(name) => {
                let mut values = request.headers.get_all(name).iter();
                let first = String::from_utf8_lossy(values.next()?.as_bytes());
                let mut joined = first;
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
            Some(Spec::StringMatch(text)) => {
                (Some(Text::compile(text).context("string_match")?), true)
            }
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
