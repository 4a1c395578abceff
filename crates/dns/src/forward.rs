//! Questions that no zone knows, asked elsewhere.

use crate::{
    message::{self, Packet},
    responder::Pending,
};
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How many questions may wait for upstreams at once. Each holds a socket, so this also bounds those;
/// a circle of servers that escapes every other check ends here.
const MOST_WAITING: usize = 512;

/// Asks upstream servers, in order, and takes the first answer.
///
/// It keeps nothing: an answer from upstream is passed on with the upstream's own TTL, and the client's
/// resolver is the cache.
pub struct Forwarder {
    upstreams: Vec<SocketAddr>,
    timeout: Duration,
    waiting: Arc<Semaphore>,
}

impl Forwarder {
    /// Asks these servers, one after the other until one answers.
    pub fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            timeout: Duration::from_secs(1),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }

    /// How long to wait for each server; one second if not set.
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

    /// Room for one more question; `None` when too many are under way.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.waiting.clone().try_acquire_owned().ok()
    }

    /// Asks until somebody answers. `None` if nobody does, or if all answer that they cannot.
    pub(crate) async fn ask(&self, pending: &Pending) -> Option<Packet> {
        let mut last = None;
        for upstream in &self.upstreams {
            match self.ask_one(*upstream, pending).await {
                Ok(packet) => {
                    let code = packet.metadata.response_code;
                    if !matches!(code, ResponseCode::ServFail | ResponseCode::Refused) {
                        return Some(packet);
                    }
                    // It is there but does not know; the next one may. If not, this stands.
                    last = Some(packet);
                }
                Err(error) => {
                    let name = &pending.question.name;
                    tracing::debug!(%upstream, %name, %error, "an upstream does not answer");
                }
            }
        }
        last
    }

    async fn ask_one(&self, upstream: SocketAddr, pending: &Pending) -> io::Result<Packet> {
        let exchange = async {
            let question = &pending.question;
            let packet = over_udp(upstream, question, Some(pending.trail.clone())).await?;
            match packet.metadata.response_code {
                // Some old servers know no EDNS and say so in this way (RFC 6891 §7).
                ResponseCode::FormErr | ResponseCode::NotImp => {
                    over_udp(upstream, question, None).await
                }
                _ if packet.metadata.truncation => {
                    over_tcp(upstream, question, pending.trail.clone()).await
                }
                _ => Ok(packet),
            }
        };
        match timeout(self.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A socket of its own for each question: the kernel draws its port, which together with the random id
/// is what an off-path forger has to guess (RFC 5452).
async fn over_udp(
    upstream: SocketAddr,
    question: &Query,
    trail: Option<Vec<u8>>,
) -> io::Result<Packet> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    let id = Message::query().metadata.id;
    let bytes = message::ask(id, question, trail).map_err(io::Error::other)?;
    socket.send(&bytes).await?;
    let mut answer = vec![0; usize::from(message::UDP_LIMIT).max(4096)];
    loop {
        let length = socket.recv(&mut answer).await?;
        if let Some(packet) = matching(&answer[..length], id, question) {
            return Ok(packet);
        }
    }
}

async fn over_tcp(upstream: SocketAddr, question: &Query, trail: Vec<u8>) -> io::Result<Packet> {
    let mut stream = TcpStream::connect(upstream).await?;
    let id = Message::query().metadata.id;
    let bytes = message::ask(id, question, Some(trail)).map_err(io::Error::other)?;
    let mut framed = (bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&bytes);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    matching(&answer, id, question)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer to the question"))
}

/// The message, if it answers this question.
fn matching(bytes: &[u8], id: u16, question: &Query) -> Option<Packet> {
    let packet = Packet::read(bytes, MessageType::Response).ok()?;
    (packet.metadata.id == id && packet.question == *question).then_some(packet)
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
