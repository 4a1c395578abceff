//! Forwarding of queries that no zone answers.

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

/// Queries that wait for upstreams at once, at most. Each holds a socket, so this also bounds those;
/// a circle of servers that escapes every other check ends here.
const MAX_PENDING: usize = 512;

/// Of these, at most so many of one client.
const MAX_PENDING_PER_CLIENT: usize = 256;

/// The longest answer taken over UDP; servers that ignore what was offered send no more either.
const MAX_RESPONSE_LEN: usize = 4096;

/// Asks upstream servers, in order, and takes the first answer.
///
/// It keeps nothing: an answer from upstream is passed on with the upstream's own TTL, and the client's
/// resolver is the cache.
pub struct Forwarder {
    upstreams: Vec<SocketAddr>,
    timeout: Duration,
    pending: Arc<ClientLimit>,
}

impl Forwarder {
    /// Asks these servers, one after the other until one answers.
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            timeout: Duration::from_secs(1),
            pending: ClientLimit::new(MAX_PENDING, MAX_PENDING_PER_CLIENT),
        }
    }

    /// Deadline of each server's response; one second if not set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The servers to ask.
    pub fn upstreams(&self) -> &[SocketAddr] {
        &self.upstreams
    }

    /// Leaves out every upstream that is this very server, listening at `own`: a machine's resolv.conf
    /// may name it.
    pub(crate) fn avoid(&mut self, own: SocketAddr) {
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

    /// Admits a query of a client; `None` when too many are pending.
    pub(crate) fn admit(&self, client: IpAddr) -> Option<ClientPermit> {
        self.pending.acquire(client)
    }

    /// Queries the upstreams in order. `None` if none responds; if all respond with an error, the last
    /// response.
    pub(crate) async fn ask(&self, pending: &Pending, seed: u64) -> Option<UpstreamResponse> {
        let mut rng = Rng::with_seed(seed);
        let mut last = None;
        for upstream in &self.upstreams {
            let exchange = ask_one(*upstream, pending, &mut rng);
            match timeout(self.timeout, exchange).await {
                Ok(Ok(response)) => {
                    if ![Code::SERV_FAIL, Code::REFUSED].contains(&response.code()) {
                        return Some(response);
                    }
                    // The next upstream may know the name; if none does, this is the response.
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

async fn ask_one(
    upstream: SocketAddr,
    pending: &Pending,
    rng: &mut Rng,
) -> io::Result<UpstreamResponse> {
    let response = match over_udp(upstream, &ForwardedQuery::new(pending, rng, true)).await? {
        // Some old servers know no EDNS and say so in this way (RFC 6891 §7).
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

/// A socket of its own for each question: the kernel draws its port, which together with the random id
/// and case is what an off-path forger has to guess (RFC 5452). `None` if the answer has to be asked for
/// over TCP: it is cut, or its case is another, which a forger cannot help and some servers cannot
/// either.
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
    // Invariant: a question is far below 65,536 bytes.
    let mut framed = (asked.bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&asked.bytes);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    // A connection proves where the answer is from; its case proves nothing more.
    match asked.parse_response(&answer, false) {
        ParsedResponse::Answer(response) => Ok(response),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no answer to the question",
        )),
    }
}

/// The name servers that a resolv.conf lists, each at port 53. Lines that cannot be read are skipped, as
/// resolvers do.
pub fn resolv_conf(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        // A zone index (`fe80::1%eth0`) names an interface, which an address alone cannot.
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
        forwarder.avoid(address("127.0.0.1:53"));
        assert_eq!(forwarder.upstreams(), &upstreams[1..]);
        let mut forwarder = Forwarder::new(upstreams.clone());
        forwarder.avoid(address("0.0.0.0:53"));
        assert_eq!(forwarder.upstreams(), &upstreams[1..]);
    }
}
