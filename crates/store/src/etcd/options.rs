//! The address of an etcd cluster, and the credentials for it.

use std::{fmt, str::FromStr};

/// An etcd cluster, and the prefix of one control plane's keys.
#[derive(Clone)]
pub struct Options {
    /// `host:port` of each member to connect to.
    pub endpoints: Vec<String>,
    /// Prefix of all keys, for example `/tombolo`; without a slash at the end.
    pub prefix: String,
    /// TLS to the members; `None`: members are not authenticated and connections not encrypted.
    pub tls: Option<Tls>,
    /// The user and the password, if etcd requires them.
    pub user: Option<(String, String)>,
}

/// Certificates as PEM.
#[derive(Clone)]
pub struct Tls {
    /// The CA of the members' certificates.
    pub ca: Vec<u8>,
    /// The client certificate and its key, if etcd requires one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// The prefix of keys if the address has none.
const DEFAULT_PREFIX: &str = "/tombolo";

/// The text is not the address of an etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {reason}; it looks like etcd://host:2379,host:2379/tombolo")]
pub struct InvalidAddress {
    text: String,
    reason: AddressProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum AddressProblem {
    #[error("this is no address of an etcd cluster")]
    Scheme,
    #[error("a prefix has at most 255 letters, digits, dots, dashes and slashes")]
    Prefix,
    #[error("a member's name is empty")]
    EmptyHost,
    #[error("{0:?} is no host and port: {1}")]
    Host(String, String),
    #[error("{0:?} has no port")]
    Port(String),
    #[error("a user and a password do not belong here, where everybody sees them")]
    Credentials,
}

impl FromStr for Options {
    type Err = InvalidAddress;

    /// Reads `etcd://host:port,host:port/prefix`; port 2379 and the prefix `/tombolo` may be left out.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        parse(text).map_err(|reason| InvalidAddress {
            text: text.to_owned(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Options, AddressProblem> {
    let rest = text.strip_prefix("etcd://").ok_or(AddressProblem::Scheme)?;
    let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let endpoints = hosts.split(',').map(endpoint).collect::<Result<_, _>>()?;
    let prefix = prefix.trim_end_matches('/');
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if prefix.len() > 255 || !prefix.bytes().all(is_legal) {
        return Err(AddressProblem::Prefix);
    }
    Ok(Options {
        endpoints,
        prefix: match prefix {
            "" => DEFAULT_PREFIX.to_owned(),
            prefix => format!("/{prefix}"),
        },
        tls: None,
        user: None,
    })
}

fn endpoint(host: &str) -> Result<String, AddressProblem> {
    if host.is_empty() {
        return Err(AddressProblem::EmptyHost);
    }
    let at = if host
        .rsplit_once(']')
        .map_or(host, |(_, rest)| rest)
        .contains(':')
    {
        host.to_owned()
    } else {
        format!("{host}:2379")
    };
    let parsed = at.parse::<http::uri::Authority>();
    let authority =
        parsed.map_err(|error| AddressProblem::Host(host.to_owned(), error.to_string()))?;
    if authority.port_u16().is_none_or(|port| port == 0) {
        return Err(AddressProblem::Port(host.to_owned()));
    }
    if at.contains('@') {
        return Err(AddressProblem::Credentials);
    }
    Ok(at)
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secured = self.tls.as_ref().map(|_| "with TLS").unwrap_or_default();
        let user = self.user.as_ref().map(|(name, _)| name.as_str());
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("tls", &secured)
            .field("user", &user)
            .finish()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd://{}{}", self.endpoints.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("etcd://a", "etcd://a:2379/tombolo"),
            ("etcd://a:1,b:2/x/y/", "etcd://a:1,b:2/x/y"),
            ("etcd://[::1]:5", "etcd://[::1]:5/tombolo"),
            ("etcd://[::1]/", "etcd://[::1]:2379/tombolo"),
        ] {
            let options: Options = text.parse().expect(text);
            assert_eq!(options.to_string(), shown);
        }
        for text in [
            "etcd:a",
            "http://a",
            "etcd://",
            "etcd://a,,b",
            "etcd://a:0",
            "etcd://a:b",
            "etcd://user:secret@a:1",
            "etcd://a/pre fix",
        ] {
            assert!(text.parse::<Options>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut options: Options = "etcd://a".parse().expect("legal");
        options.user = Some(("root".into(), "secret".into()));
        assert!(!format!("{options:?}").contains("secret"));
    }
}
