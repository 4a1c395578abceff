//! `Listener`: an address, and the filter chains with their match criteria.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::config::listener::v3 as proto;
use envoy_types::pb::envoy::config::listener::v3::filter_chain_match::ConnectionSourceType;
use ipnet::IpNet;
use prost::Message;

use super::address::{cidr, socket_address};
use super::any::{any_name, decode_any};
use super::cluster::plaintext;
use super::error::{ConfigError, ConfigResult, ErrorContext, ensure, reject_set};
use super::field::{Field, Wrapped, field};
use super::http_connection_manager::{self, HttpConnectionManager};
use super::tcp_proxy::{self, TcpProxy};

const ORIGINAL_DST: &str = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
const TLS_INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
const HTTP_INSPECTOR: &str = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// Envoy's default of `listener_filters_timeout`.
const FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    /// Whether the listener has a socket. One that only receives connections from another listener has none.
    pub(crate) bind: bool,
    pub(crate) original_dst: bool,
    pub(crate) backlog: u32,
    pub(crate) chains: Vec<Arc<Chain>>,
    pub(crate) default_chain: Option<Arc<Chain>>,
    /// Whether the choice of a filter chain needs the connection's first bytes.
    pub(crate) inspects: bool,
    /// `listener_filters_timeout`: deadline for the first bytes of a connection; `None` is no limit.
    pub(crate) filters_timeout: Option<Duration>,
    /// `continue_on_listener_filters_timeout`: a connection whose first bytes do not arrive in time is served without
    /// them instead of being closed.
    pub(crate) continue_on_timeout: bool,
}

#[derive(Debug)]
pub(crate) struct Chain {
    matcher: ChainMatch,
    pub(crate) filter: Filter,
    /// The encoded message; a chain with an equal one keeps its connections through a listener update.
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
    destinations: Vec<IpNet>,
    server_names: Vec<String>,
    transport_protocol: String,
    application_protocols: Vec<String>,
    sources: Vec<IpNet>,
    source_ports: Vec<u16>,
    source_type: ConnectionSourceType,
}

/// The properties of a connection that select its filter chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionInfo<'a> {
    pub(crate) source: SocketAddr,
    /// The destination address of the connection; the original destination when the listener restores it.
    pub(crate) destination: SocketAddr,
    pub(crate) server_name: &'a str,
    /// `tls` or `raw_buffer`.
    pub(crate) transport: &'a str,
    pub(crate) application_protocols: &'a [&'a str],
}

/// Compiles a listener. Chains equal to one of `previous` are shared with it, so that their connections stay open.
pub(crate) fn compile(
    listener: &proto::Listener,
    previous: Option<&Listener>,
) -> ConfigResult<Listener> {
    reject_set!(listener;
        additional_addresses, fcds_config, filter_chain_matcher, socket_options, udp_listener_config, api_listener,
        access_log, enable_mptcp, listener_specifier,
    );
    if listener.transparent.value_or(false) {
        return Err(ConfigError::unsupported("transparent"));
    }
    let restores = field!(listener.listener_filters).each(restores_destination)?;
    let old: Vec<&Arc<Chain>> = previous.map_or_else(Vec::new, |old| {
        old.chains.iter().chain(&old.default_chain).collect()
    });
    let mut chains = Vec::with_capacity(listener.filter_chains.len());
    for (index, chain) in listener.filter_chains.iter().enumerate() {
        let name = match chain.name.as_str() {
            "" => index.to_string(),
            name => name.to_owned(),
        };
        chains.push(compile_chain(chain, &old).context(format!("filter_chains[{name}]"))?);
    }
    let default_chain =
        field!(listener.default_filter_chain).compile(|chain| compile_chain(chain, &old))?;
    ensure(
        !chains.is_empty() || default_chain.is_some(),
        "filter_chains",
        "at least one filter chain is required",
    )?;
    let older = listener.deprecated_v1.as_ref();
    let bound = (listener.bind_to_port.value()).or(older.and_then(|v1| v1.bind_to_port.value()));
    Ok(Listener {
        name: listener.name.as_str().into(),
        address: socket_address(listener.address.as_ref())?,
        bind: bound.unwrap_or(true),
        original_dst: listener.use_original_dst.value_or(false) || restores.contains(&true),
        backlog: listener.tcp_backlog_size.value_or(4096),
        inspects: chains.iter().any(|chain| chain.matcher.inspects()),
        chains,
        default_chain,
        filters_timeout: field!(listener.listener_filters_timeout)
            .timeout(Some(FILTERS_TIMEOUT))?,
        continue_on_timeout: listener.continue_on_listener_filters_timeout,
    })
}

/// Whether a listener filter restores the original destination; inspectors of the first bytes do not.
fn restores_destination(filter: &proto::ListenerFilter) -> ConfigResult<bool> {
    use proto::listener_filter::ConfigType;
    reject_set!(filter; filter_disabled);
    let name = match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => any_name(any),
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(ConfigError::unsupported("config_discovery"));
        }
        None => "",
    };
    match name {
        ORIGINAL_DST => Ok(true),
        TLS_INSPECTOR | HTTP_INSPECTOR => Ok(false),
        _ => Err(ConfigError::new(
            "",
            format!("listener filter {:?} is not supported", filter.name),
        )),
    }
}

fn compile_chain(chain: &proto::FilterChain, old: &[&Arc<Chain>]) -> ConfigResult<Arc<Chain>> {
    let source = chain.encode_to_vec();
    let is_same = |known: &&&Arc<Chain>| known.source == source && !known.is_retired();
    if let Some(same) = old.iter().find(is_same) {
        return Ok((*same).clone());
    }
    reject_set!(chain; use_proxy_proto);
    plaintext(field!(chain.transport_socket))?;
    let matcher = field!(chain.filter_chain_match).compile(ChainMatch::compile)?;
    let filter = match chain.filters.as_slice() {
        // As in Envoy, a chain without filters closes its connections.
        [] => Filter::Close,
        [filter] => network_filter(filter)?,
        _ => {
            return Err(ConfigError::new(
                "filters",
                "more than one of http_connection_manager and tcp_proxy is not supported",
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

fn network_filter(filter: &proto::Filter) -> ConfigResult<Filter> {
    let Some(proto::filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
        return Err(ConfigError::new("filters[0].typed_config", "is required"));
    };
    match any_name(any) {
        HTTP_CONNECTION_MANAGER => {
            let config = decode_any(any).context("filters[0]")?;
            let compiled = http_connection_manager::compile(&config);
            let compiled = compiled.context("http_connection_manager")?;
            Ok(Filter::Http(Arc::new(compiled)))
        }
        TCP_PROXY => {
            let config = decode_any(any).context("filters[0]")?;
            let compiled = tcp_proxy::compile(&config).context("tcp_proxy")?;
            Ok(Filter::Tcp(Arc::new(compiled)))
        }
        other => Err(ConfigError::new(
            "filters[0]",
            format!("network filter {other} is not supported"),
        )),
    }
}

impl Chain {
    /// Drains the connections of the chain: each closes after its current request.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Returns true once for each chain, over all workers: at the first report of a silent client.
    pub(crate) fn reports_silence(&self) -> bool {
        !self.silence_reported.swap(true, Ordering::Relaxed)
    }
}

impl ChainMatch {
    fn compile(value: &proto::FilterChainMatch) -> ConfigResult<Self> {
        reject_set!(value; address_suffix, suffix_len, direct_source_prefix_ranges);
        let port = |value: &u32| {
            let (name, value) = ("source_ports", value);
            Ok(Field { name, value }.port()?.unwrap_or_default())
        };
        Ok(Self {
            destination_port: field!(value.destination_port).port()?,
            destinations: field!(value.prefix_ranges).each(cidr)?,
            server_names: value
                .server_names
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            transport_protocol: value.transport_protocol.clone(),
            application_protocols: value.application_protocols.clone(),
            sources: field!(value.source_prefix_ranges).each(cidr)?,
            source_ports: value
                .source_ports
                .iter()
                .map(port)
                .collect::<ConfigResult<Vec<_>>>()?,
            source_type: field!(value.source_type).variant("source type")?,
        })
    }

    fn inspects(&self) -> bool {
        !self.server_names.is_empty()
            || !self.transport_protocol.is_empty()
            || !self.application_protocols.is_empty()
    }

    /// The specificity of the match, criterion by criterion in Envoy's order; `None` when it does not match.
    fn rank(&self, connection: &ConnectionInfo<'_>) -> Option<[u32; 8]> {
        let (source, destination) = (connection.source, connection.destination);
        let local = source.ip().is_loopback() || source.ip() == destination.ip();
        let protocols = &self.application_protocols;
        let spoken = connection.application_protocols;
        Some([
            rank_one(self.destination_port.is_some(), || {
                self.destination_port == Some(destination.port())
            })?,
            rank_cidrs(&self.destinations, destination.ip())?,
            rank_names(&self.server_names, connection.server_name)?,
            rank_one(!self.transport_protocol.is_empty(), || {
                self.transport_protocol == connection.transport
            })?,
            rank_one(!protocols.is_empty(), || {
                protocols.iter().any(|name| spoken.contains(&name.as_str()))
            })?,
            rank_one(self.source_type != ConnectionSourceType::Any, || {
                local == (self.source_type == ConnectionSourceType::SameIpOrLoopback)
            })?,
            rank_cidrs(&self.sources, source.ip())?,
            rank_one(!self.source_ports.is_empty(), || {
                self.source_ports.contains(&source.port())
            })?,
        ])
    }
}

/// A criterion that matches ranks above an absent one.
fn rank_one(is_given: bool, is_met: impl FnOnce() -> bool) -> Option<u32> {
    match is_given {
        false => Some(0),
        true => is_met().then_some(1),
    }
}

/// Longer prefixes rank higher; an absent prefix ranks lowest.
fn rank_cidrs(ranges: &[IpNet], ip: IpAddr) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    // A dual-stack socket reports IPv4 clients with mapped addresses.
    let ip = ip.to_canonical();
    let matching = ranges.iter().filter(|range| range.contains(&ip));
    matching
        .map(|range| u32::from(range.prefix_len()) + 1)
        .max()
}

/// An exact name ranks above every wildcard, a longer wildcard above a shorter one.
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
    /// The most specific matching chain, otherwise the default chain.
    pub(crate) fn choose(&self, connection: &ConnectionInfo<'_>) -> Option<&Arc<Chain>> {
        let ranked = self
            .chains
            .iter()
            .filter_map(|chain| Some((chain.matcher.rank(connection)?, chain)));
        // The first of several equal ones: `max_by_key` returns the last.
        let best = ranked.rev().max_by_key(|(rank, _)| *rank);
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
        let network = |prefix: &str| ChainMatch {
            destinations: vec![prefix.parse().unwrap()],
            ..ChainMatch::default()
        };
        assert!(rank(&port, "10.1.2.3:80") > rank(&network("10.0.0.0/8"), "10.1.2.3:80"));
        assert!(
            rank(&network("10.1.0.0/16"), "10.1.2.3:80")
                > rank(&network("10.0.0.0/8"), "10.1.2.3:80")
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
