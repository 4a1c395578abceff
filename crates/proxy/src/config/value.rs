//! The small protobuf values that many resources share: addresses, string matchers, typed messages.

use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf;
use http::HeaderName;
use ipnet::IpNet;
use prost::{Message, Name};
use regex::Regex;

use super::error::{ConfigError, ConfigResult, ErrorContext, ensure};
use super::field::{Wrapped, field};

/// Largest compiled size of one regular expression, in bytes. RE2 in Envoy has a program-size limit of the same purpose.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// Decodes an `Any` that must hold `M`; another type URL is refused by name.
pub(crate) fn decode_any<M: Message + Name + Default>(any: &protobuf::Any) -> ConfigResult<M> {
    let (found, expected) = (any_name(any), M::full_name());
    ensure(
        found == expected,
        "",
        format!("has type {found}, expected {expected}"),
    )?;
    decode(&any.value)
}

pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> ConfigResult<M> {
    M::decode(bytes)
        .map_err(|error| ConfigError::new("", format!("is not valid protobuf: {error}")))
}

/// The bare message name of an `Any`, for choosing what to decode.
pub(crate) fn any_name(any: &protobuf::Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}

/// Host (an address or a DNS name) and port of a socket address.
pub(crate) fn host_port(address: Option<&core::Address>) -> ConfigResult<(String, u16)> {
    use core::address::Address;
    use core::socket_address::{PortSpecifier, Protocol};
    let Some(Address::SocketAddress(socket)) = address.and_then(|a| a.address.as_ref()) else {
        return Err(ConfigError::new("address", "must be a socket_address"));
    };
    let field = |name| format!("address.socket_address.{name}");
    ensure(
        socket.protocol == Protocol::Tcp as i32,
        field("protocol"),
        "must be TCP",
    )?;
    let Some(PortSpecifier::PortValue(port)) = &socket.port_specifier else {
        return Err(ConfigError::new(field("port_value"), "is required"));
    };
    let port = u16::try_from(*port)
        .map_err(|_| ConfigError::new(field("port_value"), "is not a port number"))?;
    Ok((socket.address.clone(), port))
}

pub(crate) fn socket_address(address: Option<&core::Address>) -> ConfigResult<SocketAddr> {
    let (host, port) = host_port(address)?;
    let ip = ip_address(&host).context("address.socket_address.address")?;
    Ok(SocketAddr::new(ip, port))
}

fn ip_address(text: &str) -> ConfigResult<IpAddr> {
    text.parse()
        .map_err(|_| ConfigError::new("", format!("{text:?} is not an IP address")))
}

/// An address prefix such as `10.0.0.0/8`.
pub(crate) fn cidr(range: &core::CidrRange) -> ConfigResult<IpNet> {
    let address = ip_address(&range.address_prefix).context("address_prefix")?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = u8::try_from(range.prefix_len.value_or(0)).ok();
    length
        .and_then(|length| IpNet::new(address, length).ok())
        .ok_or_else(|| ConfigError::new("prefix_len", format!("must be at most {longest}")))
}

/// A pattern that must match the whole value, as Envoy's `safe_regex` does.
pub(crate) fn full_regex(value: &matcher::RegexMatcher, ignore_case: bool) -> ConfigResult<Regex> {
    let flags = if ignore_case { "(?i)" } else { "" };
    regex(&format!("{flags}^(?:{})$", value.regex))
}

/// A pattern that may match anywhere, for substitutions.
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

/// One string predicate.
#[derive(Debug)]
pub(crate) enum Text {
    Literal {
        text: String,
        part: Part,
        /// Of ASCII letters, as in Envoy.
        ignore_case: bool,
    },
    Regex(Regex),
}

/// The part of a value that a literal must equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Prefix,
    Suffix,
    Anywhere,
}

impl Text {
    pub(crate) fn literal(part: Part, text: &str, ignore_case: bool) -> Self {
        Self::Literal {
            text: text.to_owned(),
            part,
            ignore_case,
        }
    }

    pub(crate) fn compile(value: &matcher::StringMatcher) -> ConfigResult<Self> {
        use matcher::string_matcher::MatchPattern;
        let literal = |part, text: &str| Ok(Self::literal(part, text, value.ignore_case));
        match &value.match_pattern {
            Some(MatchPattern::Exact(text)) => literal(Part::Whole, text),
            Some(MatchPattern::Prefix(text)) => literal(Part::Prefix, text),
            Some(MatchPattern::Suffix(text)) => literal(Part::Suffix, text),
            Some(MatchPattern::Contains(text)) => literal(Part::Anywhere, text),
            Some(MatchPattern::SafeRegex(pattern)) => {
                let regex = full_regex(pattern, value.ignore_case).context("safe_regex")?;
                Ok(Self::Regex(regex))
            }
            Some(MatchPattern::Custom(_)) => Err(ConfigError::unsupported("custom")),
            None => Err(ConfigError::new("match_pattern", "is required")),
        }
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        let (text, part, ignore_case) = match self {
            Self::Regex(regex) => return regex.is_match(value),
            Self::Literal {
                text,
                part,
                ignore_case,
            } => (text.as_bytes(), part, *ignore_case),
        };
        let value = value.as_bytes();
        let is_text =
            |bytes: &[u8]| bytes == text || ignore_case && bytes.eq_ignore_ascii_case(text);
        match part {
            Part::Whole => is_text(value),
            Part::Prefix => value.get(..text.len()).is_some_and(is_text),
            Part::Suffix => {
                let start = value.len().checked_sub(text.len());
                start.is_some_and(|start| is_text(&value[start..]))
            }
            Part::Anywhere if ignore_case => {
                text.is_empty() || value.windows(text.len()).any(is_text)
            }
            Part::Anywhere => memchr::memmem::find(value, text).is_some(),
        }
    }
}

/// A field of a request: a header, or a pseudo-header of HTTP/2.
#[derive(Debug, Clone)]
pub(crate) enum RequestField {
    Method,
    Path,
    Authority,
    Scheme,
    Header(HeaderName),
}

impl RequestField {
    /// `None`: this is no name of a header.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            name => Self::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
        })
    }
}

/// Items that are chosen at random in proportion to their weights.
#[derive(Debug)]
pub(crate) struct Weighted<T> {
    items: Vec<(u32, T)>,
    /// The sum of the weights; at least 1.
    total: u64,
}

impl<T> Weighted<T> {
    /// Weights are relative to their sum; `total_weight`, deprecated, is ignored by Envoy too.
    pub(super) fn new(items: Vec<(u32, T)>) -> ConfigResult<Self> {
        let total: u64 = items.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let reason = "weights must add up to a number from 1 to 4294967295";
        let is_valid = (1..=u64::from(u32::MAX)).contains(&total);
        ensure(is_valid, "clusters", reason)?;
        Ok(Self { items, total })
    }

    /// The item at a random point; `random` is any 64 bits.
    pub(crate) fn choose(&self, random: u64) -> &T {
        let mut point = random % self.total;
        for (weight, item) in &self.items {
            match point.checked_sub(u64::from(*weight)) {
                Some(rest) => point = rest,
                None => return item,
            }
        }
        // Unreachable while `total` is the sum of the weights; the first item is a safe answer.
        &self.items[0].1
    }
}

/// The bytes of an inline data source.
pub(crate) fn inline_data(source: &core::DataSource) -> ConfigResult<Vec<u8>> {
    use core::data_source::Specifier;
    match &source.specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::Filename(_)) => Err(ConfigError::unsupported("filename")),
        Some(Specifier::EnvironmentVariable(_)) => {
            Err(ConfigError::unsupported("environment_variable"))
        }
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn re2_groups_become_regex_groups() {
        assert_eq!(from_re2_replacement(r"/\2/\1$x\\"), r"/${2}/${1}$$x\");
    }

    #[test]
    fn literals_are_compared_with_a_part_of_the_value() {
        use Part::{Anywhere, Prefix, Suffix, Whole};
        for (part, text, ignore_case, value, expected) in [
            (Whole, "red", false, "red", true),
            (Whole, "red", false, "Red", false),
            (Whole, "Red", true, "rED", true),
            (Whole, "red", true, "reddish", false),
            (Prefix, "re", true, "RED", true),
            (Prefix, "red", true, "re", false),
            (Suffix, "ed", false, "red", true),
            (Suffix, "red", false, "ed", false),
            (Anywhere, "e", false, "red", true),
            (Anywhere, "E", false, "red", false),
            (Anywhere, "E", true, "red", true),
            (Anywhere, "", true, "", true),
        ] {
            let matched = Text::literal(part, text, ignore_case).matches(value);
            assert_eq!(matched, expected, "{part:?} {text} {ignore_case} {value}");
        }
    }
}
