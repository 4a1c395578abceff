//! `Listener`: an address, the filter chains of its connections, and how one is chosen.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::config::listener::v3 as proto;
use prost::Message;

use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::http_connection_manager::{self, HttpConnectionManager};
use super::tcp_proxy::{self, TcpProxy};
use super::value::{Cidr, any_name, decode_any, flag, number, socket_address, timeout};

const ORIGINAL_DST: &str = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
const TLS_INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
const HTTP_INSPECTOR: &str = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";

/// Envoy's default of `listener_filters_timeout`.
const FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    /// A listener that only receives connections handed over by another is known but not bound.
    pub(crate) bind: bool,
    pub(crate) original_dst: bool,
    pub(crate) backlog: u32,
    pub(crate) chains: Vec<Arc<Chain>>,
    pub(crate) default_chain: Option<Arc<Chain>>,
    /// Whether choosing a chain needs the connection's first bytes.
    pub(crate) inspects: bool,
    /// For the first bytes to arrive; `None` is no limit.
    pub(crate) filters_timeout: Option<Duration>,
    /// A connection whose first bytes did not arrive in time goes on without them, instead of being closed.
    pub(crate) continue_on_timeout: bool,
}

#[derive(Debug)]
pub(crate) struct Chain {
    matcher: ChainMatch,
    pub(crate) filter: Filter,
    /// The message it was compiled from; an equal one keeps its connections through a listener update.
    source: Vec<u8>,
    retired: AtomicBool,
    silence_reported: AtomicBool,
}

#[derive(Debug)]
pub(crate) enum Filter {
    Http(Arc<HttpConnectionManager>),
    Tcp(Arc<TcpProxy>),
    /// Connections are closed at once.
    Close,
}

#[derive(Debug, Default)]
struct ChainMatch {
    destination_port: Option<u16>,
    destinations: Vec<Cidr>,
    server_names: Vec<String>,
    transport_protocol: String,
    application_protocols: Vec<String>,
    sources: Vec<Cidr>,
    source_ports: Vec<u16>,
    source_type: SourceType,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum SourceType {
    #[default]
    Any,
    SameIpOrLoopback,
    External,
}

/// What is known about a connection when its chain is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionInfo<'a> {
    pub(crate) source: SocketAddr,
    /// Where the client meant to go: the original destination when the listener restores it.
    pub(crate) destination: SocketAddr,
    pub(crate) server_name: &'a str,
    /// `tls` or `raw_buffer`.
    pub(crate) transport: &'a str,
    pub(crate) application_protocols: &'a [&'a str],
}

/// Compiles a listener. Chains equal to one of `previous` are shared with it, so that their connections live on.
pub(crate) fn compile(
    listener: &proto::Listener,
    previous: Option<&Listener>,
) -> ConfigResult<Listener> {
    reject_set!(listener;
        additional_addresses, fcds_config, filter_chain_matcher, socket_options, udp_listener_config, api_listener,
        access_log, enable_mptcp, listener_specifier,
    );
    if flag(listener.transparent.as_ref(), false) {
        return Err(ConfigError::unsupported("transparent"));
    }
    let mut original_dst = flag(listener.use_original_dst.as_ref(), false);
    for (index, filter) in listener.listener_filters.iter().enumerate() {
        let place = || format!("listener_filters[{index}]");
        reject_set!(filter; filter_disabled);
        let name = match &filter.config_type {
            Some(proto::listener_filter::ConfigType::TypedConfig(any)) => any_name(any),
            Some(proto::listener_filter::ConfigType::ConfigDiscovery(_)) => {
                return Err(ConfigError::unsupported(format!(
                    "{}.config_discovery",
                    place()
                )));
            }
            None => "",
        };
        match name {
            ORIGINAL_DST => original_dst = true,
            TLS_INSPECTOR | HTTP_INSPECTOR => {}
            _ => {
                return Err(ConfigError::new(
                    place(),
                    format!("listener filter {:?} is not supported", filter.name),
                ));
            }
        }
    }
    let old: Vec<&Arc<Chain>> = previous.map_or_else(Vec::new, |old| {
        old.chains.iter().chain(&old.default_chain).collect()
    });
    let mut chains = Vec::with_capacity(listener.filter_chains.len());
    for (index, chain) in listener.filter_chains.iter().enumerate() {
        let place = if chain.name.is_empty() {
            index.to_string()
        } else {
            chain.name.clone()
        };
        chains.push(compile_chain(chain, &old).context(format!("filter_chains[{place}]"))?);
    }
    let default_chain = listener
        .default_filter_chain
        .as_ref()
        .map(|chain| compile_chain(chain, &old))
        .transpose()
        .context("default_filter_chain")?;
    if chains.is_empty() && default_chain.is_none() {
        return Err(ConfigError::new(
            "filter_chains",
            "at least one filter chain is required",
        ));
    }
    let inspects = chains.iter().any(|chain| chain.matcher.inspects());
    #[allow(deprecated)]
    let bound = listener.bind_to_port.as_ref().or(listener
        .deprecated_v1
        .as_ref()
        .and_then(|v1| v1.bind_to_port.as_ref()));
    Ok(Listener {
        name: listener.name.as_str().into(),
        address: socket_address(listener.address.as_ref())?,
        bind: flag(bound, true),
        original_dst,
        backlog: number(listener.tcp_backlog_size.as_ref(), 4096),
        chains,
        default_chain,
        inspects,
        filters_timeout: timeout(
            listener.listener_filters_timeout.as_ref(),
            Some(FILTERS_TIMEOUT),
            "listener_filters_timeout",
        )?,
        continue_on_timeout: listener.continue_on_listener_filters_timeout,
    })
}

fn compile_chain(chain: &proto::FilterChain, old: &[&Arc<Chain>]) -> ConfigResult<Arc<Chain>> {
    let source = chain.encode_to_vec();
    if let Some(same) = old
        .iter()
        .find(|known| known.source == source && !known.is_retired())
    {
        return Ok((*same).clone());
    }
    reject_set!(chain; use_proxy_proto);
    if let Some(socket) = &chain.transport_socket
        && socket.name != "envoy.transport_sockets.raw_buffer"
    {
        return Err(ConfigError::new(
            "transport_socket",
            format!("{:?} is not supported: plaintext only", socket.name),
        ));
    }
    let matcher = chain
        .filter_chain_match
        .as_ref()
        .map(ChainMatch::compile)
        .transpose()
        .context("filter_chain_match")?;
    let filter = match chain.filters.as_slice() {
        // As Envoy: a chain without filters closes its connections.
        [] => {
            let matcher = matcher.unwrap_or_default();
            return Ok(Arc::new(Chain {
                matcher,
                filter: Filter::Close,
                source,
                retired: AtomicBool::new(false),
                silence_reported: AtomicBool::new(false),
            }));
        }
        [filter] => filter,
        _ => {
            return Err(ConfigError::new(
                "filters",
                "more than one of http_connection_manager and tcp_proxy is not supported",
            ));
        }
    };
    let Some(proto::filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
        return Err(ConfigError::new("filters[0].typed_config", "is required"));
    };
    let filter = match any_name(any) {
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
            let config = decode_any(any).context("filters[0]")?;
            Filter::Http(Arc::new(
                http_connection_manager::compile(&config).context("http_connection_manager")?,
            ))
        }
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" => {
            let config = decode_any(any).context("filters[0]")?;
            Filter::Tcp(Arc::new(tcp_proxy::compile(&config).context("tcp_proxy")?))
        }
        other => {
            return Err(ConfigError::new(
                "filters[0]",
                format!("network filter {other} is not supported"),
            ));
        }
    };
    Ok(Arc::new(Chain {
        matcher: matcher.unwrap_or_default(),
        filter,
        source,
        retired: AtomicBool::new(false),
        silence_reported: AtomicBool::new(false),
    }))
}

impl Chain {
    /// Connections of a retired chain finish what they are doing and close.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Whether this is the first client of the chain, over all workers, that is reported as silent.
    pub(crate) fn reports_silence(&self) -> bool {
        !self.silence_reported.swap(true, Ordering::Relaxed)
    }
}

impl ChainMatch {
    fn compile(value: &proto::FilterChainMatch) -> ConfigResult<Self> {
        reject_set!(value; address_suffix, suffix_len, direct_source_prefix_ranges);
        let cidrs = |ranges: &[_], field: &str| {
            ranges
                .iter()
                .enumerate()
                .map(|(index, range)| Cidr::compile(range).context(format!("{field}[{index}]")))
                .collect::<ConfigResult<Vec<_>>>()
        };
        let port = |port: u32, field: &str| {
            u16::try_from(port).map_err(|_| ConfigError::new(field, "is not a port number"))
        };
        use proto::filter_chain_match::ConnectionSourceType as Source;
        Ok(Self {
            destination_port: value
                .destination_port
                .as_ref()
                .map(|value| port(value.value, "destination_port"))
                .transpose()?,
            destinations: cidrs(&value.prefix_ranges, "prefix_ranges")?,
            server_names: value
                .server_names
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            transport_protocol: value.transport_protocol.clone(),
            application_protocols: value.application_protocols.clone(),
            sources: cidrs(&value.source_prefix_ranges, "source_prefix_ranges")?,
            source_ports: value
                .source_ports
                .iter()
                .map(|value| port(*value, "source_ports"))
                .collect::<ConfigResult<Vec<_>>>()?,
            source_type: match Source::try_from(value.source_type) {
                Ok(Source::Any) => SourceType::Any,
                Ok(Source::SameIpOrLoopback) => SourceType::SameIpOrLoopback,
                Ok(Source::External) => SourceType::External,
                Err(_) => {
                    return Err(ConfigError::new(
                        "source_type",
                        "is not a known source type",
                    ));
                }
            },
        })
    }

    fn inspects(&self) -> bool {
        !self.server_names.is_empty()
            || !self.transport_protocol.is_empty()
            || !self.application_protocols.is_empty()
    }

    /// How specific the match is, criterion by criterion in Envoy's order; `None` when it does not match.
    fn rank(&self, connection: &ConnectionInfo<'_>) -> Option<[u32; 8]> {
        let port = rank_one(self.destination_port.as_ref(), |port| {
            *port == connection.destination.port()
        })?;
        let destination = rank_cidrs(&self.destinations, connection.destination.ip())?;
        let name = rank_names(&self.server_names, connection.server_name)?;
        let transport = match self.transport_protocol.as_str() {
            "" => 0,
            wanted if wanted == connection.transport => 1,
            _ => return None,
        };
        let protocols = &self.application_protocols;
        let application = if protocols.is_empty() {
            0
        } else if protocols
            .iter()
            .any(|wanted| connection.application_protocols.contains(&wanted.as_str()))
        {
            1
        } else {
            return None;
        };
        let local = connection.source.ip().is_loopback()
            || connection.source.ip() == connection.destination.ip();
        let source_type = match self.source_type {
            SourceType::Any => 0,
            SourceType::SameIpOrLoopback if local => 1,
            SourceType::External if !local => 1,
            _ => return None,
        };
        let source = rank_cidrs(&self.sources, connection.source.ip())?;
        let source_port = if self.source_ports.is_empty() {
            0
        } else if self.source_ports.contains(&connection.source.port()) {
            1
        } else {
            return None;
        };
        Some([
            port,
            destination,
            name,
            transport,
            application,
            source_type,
            source,
            source_port,
        ])
    }
}

fn rank_one<T>(wanted: Option<&T>, test: impl Fn(&T) -> bool) -> Option<u32> {
    match wanted {
        None => Some(0),
        Some(wanted) => test(wanted).then_some(1),
    }
}

/// Longer prefixes rank higher; no prefix at all ranks lowest.
fn rank_cidrs(ranges: &[Cidr], ip: IpAddr) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    ranges
        .iter()
        .filter(|range| range.contains(ip))
        .map(|range| u32::from(range.length()) + 1)
        .max()
}

/// An exact name ranks above every wildcard, a longer wildcard above a shorter.
fn rank_names(names: &[String], name: &str) -> Option<u32> {
    if names.is_empty() {
        return Some(0);
    }
    names
        .iter()
        .filter_map(|wanted| match wanted.strip_prefix('*') {
            Some(suffix) if name.len() > suffix.len() && name.ends_with(suffix) => {
                Some(1 + u32::try_from(suffix.len()).unwrap_or(0))
            }
            None if wanted == name => Some(u32::MAX),
            _ => None,
        })
        .max()
}

impl Listener {
    /// The most specific chain that matches, else the default chain.
    pub(crate) fn choose(&self, connection: &ConnectionInfo<'_>) -> Option<&Arc<Chain>> {
        let mut best: Option<([u32; 8], &Arc<Chain>)> = None;
        for chain in &self.chains {
            if let Some(rank) = chain.matcher.rank(connection)
                && best.as_ref().is_none_or(|(highest, _)| rank > *highest)
            {
                best = Some((rank, chain));
            }
        }
        best.map(|(_, chain)| chain).or(self.default_chain.as_ref())
    }

    pub(crate) fn all_chains(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.chains.iter().chain(&self.default_chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(matcher: &ChainMatch, destination: &str) -> Option<[u32; 8]> {
        matcher.rank(&ConnectionInfo {
            source: "10.0.0.9:1000".parse().unwrap(),
            destination: destination.parse().unwrap(),
            server_name: "a.example.test",
            transport: "raw_buffer",
            application_protocols: &["http/1.1"],
        })
    }

    #[test]
    fn port_outranks_prefix_and_longer_prefixes_outrank_shorter() {
        let port = ChainMatch {
            destination_port: Some(80),
            ..ChainMatch::default()
        };
        let network = |prefix: &str, length| ChainMatch {
            destinations: vec![
                Cidr::compile(&envoy_types::pb::envoy::config::core::v3::CidrRange {
                    address_prefix: prefix.to_owned(),
                    prefix_len: Some(envoy_types::pb::google::protobuf::UInt32Value {
                        value: length,
                    }),
                })
                .unwrap(),
            ],
            ..ChainMatch::default()
        };
        assert!(rank(&port, "10.1.2.3:80") > rank(&network("10.0.0.0", 8), "10.1.2.3:80"));
        assert!(
            rank(&network("10.1.0.0", 16), "10.1.2.3:80")
                > rank(&network("10.0.0.0", 8), "10.1.2.3:80")
        );
        assert_eq!(rank(&port, "10.1.2.3:81"), None);
    }

    #[test]
    fn server_names_match_exactly_or_by_wildcard() {
        let names = |name: &str| ChainMatch {
            server_names: vec![name.to_owned()],
            ..ChainMatch::default()
        };
        let exact = rank(&names("a.example.test"), "10.0.0.1:1");
        let wildcard = rank(&names("*.example.test"), "10.0.0.1:1");
        assert!(exact > wildcard && wildcard.is_some());
        assert_eq!(rank(&names("b.example.test"), "10.0.0.1:1"), None);
    }
}
