//! The small protobuf values that many resources share: durations, addresses, string matchers, typed messages.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf;
use prost::{Message, Name};
use regex::Regex;

use super::error::{ConfigError, ConfigResult, ErrorContext};

/// ConfigResult size of one regular expression, in bytes. RE2 in Envoy has a program-size limit of the same purpose.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

pub(crate) fn duration(value: &protobuf::Duration) -> ConfigResult<Duration> {
    let seconds =
        u64::try_from(value.seconds).map_err(|_| ConfigError::new("", "is a negative duration"))?;
    let nanos =
        u32::try_from(value.nanos).map_err(|_| ConfigError::new("", "is a negative duration"))?;
    if nanos >= 1_000_000_000 || seconds > 315_576_000_000 {
        return Err(ConfigError::new("", "is not a valid duration"));
    }
    Ok(Duration::new(seconds, nanos))
}

/// An optional duration in which absence means `default` and zero means "disabled", as Envoy has it for timeouts.
pub(crate) fn timeout(
    value: Option<&protobuf::Duration>,
    default: Option<Duration>,
    field: &str,
) -> ConfigResult<Option<Duration>> {
    match value {
        None => Ok(default),
        Some(value) => Ok(Some(duration(value).context(field)?).filter(|d| !d.is_zero())),
    }
}

pub(crate) fn duration_or(
    value: Option<&protobuf::Duration>,
    default: Duration,
    field: &str,
) -> ConfigResult<Duration> {
    value.map_or(Ok(default), |value| duration(value).context(field))
}

/// Decodes an `Any` that must hold `M`; another type URL is refused by name.
pub(crate) fn decode_any<M: Message + Name + Default>(any: &protobuf::Any) -> ConfigResult<M> {
    let found = any.type_url.rsplit('/').next().unwrap_or_default();
    if found != M::full_name() {
        return Err(ConfigError::new(
            "",
            format!("has type {found}, expected {}", M::full_name()),
        ));
    }
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
    let Some(core::address::Address::SocketAddress(socket)) =
        address.and_then(|a| a.address.as_ref())
    else {
        return Err(ConfigError::new("address", "must be a socket_address"));
    };
    if socket.protocol != core::socket_address::Protocol::Tcp as i32 {
        return Err(ConfigError::new(
            "address.socket_address.protocol",
            "must be TCP",
        ));
    }
    let Some(core::socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier.as_ref()
    else {
        return Err(ConfigError::new(
            "address.socket_address.port_value",
            "is required",
        ));
    };
    let port = u16::try_from(*port).map_err(|_| {
        ConfigError::new("address.socket_address.port_value", "is not a port number")
    })?;
    Ok((socket.address.clone(), port))
}

pub(crate) fn socket_address(address: Option<&core::Address>) -> ConfigResult<SocketAddr> {
    let (host, port) = host_port(address)?;
    let ip: IpAddr = host.parse().map_err(|_| {
        ConfigError::new(
            "address.socket_address.address",
            format!("{host:?} is not an IP address"),
        )
    })?;
    Ok(SocketAddr::new(ip, port))
}

/// An address prefix such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    pub(crate) fn compile(range: &core::CidrRange) -> ConfigResult<Self> {
        let address: IpAddr = range.address_prefix.parse().map_err(|_| {
            ConfigError::new(
                "address_prefix",
                format!("{:?} is not an IP address", range.address_prefix),
            )
        })?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = range.prefix_len.as_ref().map_or(0, |value| value.value);
        let length = u8::try_from(length)
            .ok()
            .filter(|length| *length <= longest)
            .ok_or_else(|| ConfigError::new("prefix_len", format!("must be at most {longest}")))?;
        Ok(Self { address, length })
    }

    pub(crate) fn length(&self) -> u8 {
        self.length
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.length);
                u32::from(network).checked_shr(shift).unwrap_or(0)
                    == u32::from(ip).checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.length);
                u128::from(network).checked_shr(shift).unwrap_or(0)
                    == u128::from(ip).checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
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
        let pattern = value
            .pattern
            .as_ref()
            .ok_or_else(|| ConfigError::new("pattern", "is required"))?;
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
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// The same four without regard to case; the pattern is kept in lower case.
    Folded(Box<Text>),
    Regex(Regex),
}

impl Text {
    pub(crate) fn compile(value: &matcher::StringMatcher) -> ConfigResult<Self> {
        use matcher::string_matcher::MatchPattern;
        let fold = |text: &String| {
            if value.ignore_case {
                text.to_lowercase()
            } else {
                text.clone()
            }
        };
        let plain = match value.match_pattern.as_ref() {
            Some(MatchPattern::Exact(text)) => Self::Exact(fold(text)),
            Some(MatchPattern::Prefix(text)) => Self::Prefix(fold(text)),
            Some(MatchPattern::Suffix(text)) => Self::Suffix(fold(text)),
            Some(MatchPattern::Contains(text)) => Self::Contains(fold(text)),
            Some(MatchPattern::SafeRegex(pattern)) => {
                return Ok(Self::Regex(
                    full_regex(pattern, value.ignore_case).context("safe_regex")?,
                ));
            }
            Some(MatchPattern::Custom(_)) => return Err(ConfigError::unsupported("custom")),
            None => return Err(ConfigError::new("match_pattern", "is required")),
        };
        Ok(if value.ignore_case {
            Self::Folded(Box::new(plain))
        } else {
            plain
        })
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => value == text,
            Self::Prefix(text) => value.starts_with(text.as_str()),
            Self::Suffix(text) => value.ends_with(text.as_str()),
            Self::Contains(text) => value.contains(text.as_str()),
            Self::Folded(inner) => inner.matches(&value.to_lowercase()),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// The value of a `uint32` wrapper, or the default when absent.
pub(crate) fn number(value: Option<&protobuf::UInt32Value>, default: u32) -> u32 {
    value.map_or(default, |value| value.value)
}

/// The value of a `bool` wrapper, or the default when absent.
pub(crate) fn flag(value: Option<&protobuf::BoolValue>, default: bool) -> bool {
    value.map_or(default, |value| value.value)
}

/// The bytes of an inline data source.
pub(crate) fn inline_data(source: &core::DataSource) -> ConfigResult<Vec<u8>> {
    use core::data_source::Specifier;
    match source.specifier.as_ref() {
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

    fn cidr(prefix: &str, length: u32) -> Cidr {
        Cidr::compile(&core::CidrRange {
            address_prefix: prefix.to_owned(),
            prefix_len: Some(protobuf::UInt32Value { value: length }),
        })
        .expect("valid range")
    }

    #[test]
    fn prefix_ranges_compare_only_their_leading_bits() {
        assert!(cidr("10.1.0.0", 16).contains("10.1.255.3".parse().unwrap()));
        assert!(!cidr("10.1.0.0", 16).contains("10.2.0.1".parse().unwrap()));
        assert!(cidr("0.0.0.0", 0).contains("203.0.113.9".parse().unwrap()));
        assert!(cidr("fd00::", 8).contains("fd12::1".parse().unwrap()));
        assert!(cidr("10.0.0.1", 32).contains("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn re2_groups_become_regex_groups() {
        assert_eq!(from_re2_replacement(r"/\2/\1$x\\"), r"/${2}/${1}$$x\");
    }

    #[test]
    fn negative_durations_are_rejected() {
        assert!(
            duration(&protobuf::Duration {
                seconds: -1,
                nanos: 0
            })
            .is_err()
        );
    }
}
