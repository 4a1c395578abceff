//! Forwards queries that no zone answers to upstream servers.

use crate::{
    limit::{ClientLimit, ClientPermit},
    message::{ForwardedQuery, ParsedResponse, UpstreamResponse},
    reply::Code,
    responder::Pending,
};
use fastrand::Rng;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// The greatest number of queries that wait for upstreams. It also limits the sockets, one per query, and breaks
/// forwarding loops that escape every other check.
const MAX_PENDING: usize = 512;

/// The greatest number of queries of one client that wait for upstreams.
const MAX_PENDING_PER_CLIENT: usize = 256;

/// The longest answer accepted over UDP, in bytes: more than the size offered by EDNS, because some servers ignore it.
const MAX_RESPONSE_LEN: usize = 4096;

/// Forwards queries to upstream servers, in order, and returns the first answer.
///
/// It does not cache: an answer is passed on with the upstream's TTL, and the client's resolver caches it.
pub struct Forwarder {
    upstreams: Vec<SocketAddr>,
    timeout: Duration,
    pending: Arc<ClientLimit>,
}

impl Forwarder {
    /// A forwarder that queries these servers, one after the other until one answers.
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            timeout: Duration::from_secs(1),
            pending: ClientLimit::new(MAX_PENDING, MAX_PENDING_PER_CLIENT),
        }
    }

    /// Sets the timeout of each server's response; the default is one second.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The upstream servers.
    pub fn upstreams(&self) -> &[SocketAddr] {
        &self.upstreams
    }

    /// Removes every upstream that is this server itself, listening at `own`: the host's resolv.conf may name it.
    pub(crate) fn remove_self(&mut self, own: SocketAddr) {
        self.upstreams.retain(|upstream| {
            let is_here = upstream.ip() == own.ip()
                || own.ip().is_unspecified() && upstream.ip().is_loopback();
            let is_own = upstream.port() == own.port() && is_here;
            if is_own {
                tracing::warn!(%upstream, "not forwarding to this server itself");
            }
            !is_own
        });
    }

    /// Admits a query of a client; `None` if too many are pending.
    pub(crate) fn admit(&self, client: IpAddr) -> Option<ClientPermit> {
        self.pending.acquire(client)
    }

    /// Queries the upstreams in order. `None` if none responds; if all respond with an error, the last
    /// response.
    pub(crate) async fn query(&self, pending: &Pending, seed: u64) -> Option<UpstreamResponse> {
        let mut rng = Rng::with_seed(seed);
        let mut last = None;
        for upstream in &self.upstreams {
            let exchange = query_upstream(*upstream, pending, &mut rng);
            match timeout(self.timeout, exchange).await {
                Ok(Ok(response)) => {
                    if ![Code::SERV_FAIL, Code::REFUSED].contains(&response.code()) {
                        return Some(response);
                    }
                    // The next upstream may have the name; if none has, this is the response.
                    last = Some(response);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%upstream, name = %pending.target, %error, "upstream failed")
                }
                Err(_) => tracing::debug!(%upstream, name = %pending.target, "upstream timed out"),
            }
        }
        last
    }
}

async fn query_upstream(
    upstream: SocketAddr,
    pending: &Pending,
    rng: &mut Rng,
) -> io::Result<UpstreamResponse> {
    let response = match over_udp(upstream, &ForwardedQuery::new(pending, rng, true)).await? {
        // Old servers without EDNS respond with these codes (RFC 6891 §7): retry without it.
        Some(response) if [Code::FORM_ERR, Code::NOT_IMP].contains(&response.code()) => {
            over_udp(upstream, &ForwardedQuery::new(pending, rng, false)).await?
        }
        response => response,
    };
    match response {
        Some(response) => Ok(response),
        None => over_tcp(upstream, &ForwardedQuery::new(pending, rng, true)).await,
    }
}

/// Queries an upstream over UDP. `None` if the query must be repeated over TCP: the answer is truncated, or the case of
/// its name differs, as from a forger or from a server that does not preserve it.
///
/// Each query has its own socket with a random port, which an off-path forger has to guess together with the random id
/// and case (RFC 5452).
async fn over_udp(
    upstream: SocketAddr,
    asked: &ForwardedQuery,
) -> io::Result<Option<UpstreamResponse>> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(&asked.bytes).await?;
    let mut answer = vec![0; MAX_RESPONSE_LEN];
    loop {
        let length = socket.recv(&mut answer).await?;
        match asked.parse_response(&answer[..length], true) {
            ParsedResponse::Ignored => {}
            ParsedResponse::Answer(response) => return Ok(Some(response)),
            ParsedResponse::Truncated | ParsedResponse::CaseMismatch => return Ok(None),
        }
    }
}

async fn over_tcp(upstream: SocketAddr, asked: &ForwardedQuery) -> io::Result<UpstreamResponse> {
    let mut stream = TcpStream::connect(upstream).await?;
    // Invariant: a query is far below 65,536 bytes.
    let mut framed = (asked.bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&asked.bytes);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    // The connection proves the origin of the answer, so the case need not match.
    match asked.parse_response(&answer, false) {
        ParsedResponse::Answer(response) => Ok(response),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no answer to the question",
        )),
    }
}

/// The name servers in a resolv.conf, each at port 53. Invalid lines are skipped, as resolvers do.
pub fn resolv_conf(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        // An address with a zone index (`fe80::1%eth0`) does not parse and is skipped.
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_lists_its_name_servers() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.2\n\tnameserver  ::1 # x\n\
                    nameserver nonsense\nnameserver\noptions ndots:5\n";
        let found: Vec<String> = resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2:53", "[::1]:53"]);
    }

    #[test]
    fn a_server_is_not_its_own_upstream() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let upstreams = ["127.0.0.1:53", "127.0.0.1:54", "10.0.0.2:53"]
            .map(address)
            .to_vec();
        let mut forwarder = Forwarder::new(upstreams.clone());
        forwarder.remove_self(address("127.0.0.1:53"));
        assert_eq!(forwarder.upstreams(), &upstreams[1..]);
        let mut forwarder = Forwarder::new(upstreams.clone());
        forwarder.remove_self(address("0.0.0.0:53"));
        assert_eq!(forwarder.upstreams(), &upstreams[1..]);
    }
}
