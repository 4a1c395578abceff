//! DNS over UDP.
//!
//! A worker is a thread with a socket: it receives a batch of datagrams, answers them, and blocks while there are none.
//! Queries that wait for an upstream are passed to the tokio runtime.

mod batch;

use super::{Server, random};
use crate::{
    limit::RateLimiter,
    metrics::{Event, Shard},
    reply::Transport,
    responder::{Client, Pending, Step},
};
use batch::Batch;
use fastrand::Rng;
use nix::{errno::Errno, sys::socket::MsgFlags};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Notify};
use tombolo_telemetry::Outage;

/// The greatest number of worker threads per port: more do not increase throughput.
const MAX_WORKERS: usize = 16;

/// The delay after a receive error.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The interval at which an idle worker checks whether it should stop: the timeout of its blocking receive, which needs
/// a third of the system calls of polling.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The size of the socket's receive buffer in bytes; the system may limit it.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// The worker threads of one address. Dropping this stops them.
pub(super) struct Workers {
    stopping: Arc<AtomicBool>,
    /// Notified when a worker ends.
    ended: Arc<Notify>,
}

impl Workers {
    /// Starts a worker for each core. The first uses this socket, each other one its own socket on the same port, among
    /// which the kernel distributes the clients (`SO_REUSEPORT`). If that is not possible, they share the first.
    pub(super) fn start(server: &Arc<Server>, socket: UdpSocket) -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, |n| n.get());
        let workers = Self {
            stopping: Arc::default(),
            ended: Arc::default(),
        };
        let first = Arc::new(socket);
        for index in 0..count.min(MAX_WORKERS) {
            let socket = match index {
                0 => first.clone(),
                _ => bind_reuse_port(&first).map_or_else(|_| first.clone(), Arc::new),
            };
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(STOP_CHECK_INTERVAL))?;
            socket.set_write_timeout(Some(STOP_CHECK_INTERVAL))?;
            // Best effort: an error leaves the default size.
            let _ = SockRef::from(&*socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
            let worker = Worker {
                server: server.clone(),
                shard: server.responder.metrics.shard(),
                socket,
                runtime: Handle::current(),
                stopping: workers.stopping.clone(),
                _end: EndNotifier(workers.ended.clone()),
            };
            std::thread::Builder::new()
                .name(format!("dns-{index}"))
                .spawn(move || worker.run())?;
        }
        Ok(workers)
    }

    /// Notified when a worker ends, which happens only by a panic or after a stop.
    pub(super) fn ended(&self) -> Arc<Notify> {
        self.ended.clone()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Notifies when a worker ends, also by a panic.
struct EndNotifier(Arc<Notify>);

impl Drop for EndNotifier {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

struct Worker {
    server: Arc<Server>,
    shard: Arc<Shard>,
    socket: Arc<UdpSocket>,
    runtime: Handle,
    stopping: Arc<AtomicBool>,
    _end: EndNotifier,
}

impl Worker {
    fn run(self) {
        let mut rng = Rng::with_seed(random());
        let mut limiter = self.server.rate_limit.map(RateLimiter::new);
        let mut batch = Batch::new();
        let mut outage = Outage::default();
        while !self.stopping.load(Ordering::Relaxed) {
            let count = match batch.receive(&self.socket) {
                Ok(count) => count,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => {
                    // Errors of an unconnected socket come from earlier answers or from a lack of memory. Both are
                    // temporary; without a delay the second would spin.
                    if outage.begins() {
                        tracing::warn!(%error, "cannot receive DNS queries");
                    }
                    std::thread::sleep(RETRY_DELAY);
                    continue;
                }
            };
            if let Some(failures) = outage.ended() {
                tracing::info!(failures, "receiving DNS queries again");
            }
            for index in 0..count {
                let Some((question, from, answer)) = batch.query(index) else {
                    continue;
                };
                let client = Client {
                    address: from.ip(),
                    transport: Transport::Udp,
                };
                let seed = rng.u64(..);
                let responder = &self.server.responder;
                let is_admitted = limiter
                    .as_mut()
                    .is_none_or(|limiter| limiter.admits(from.ip(), Instant::now()));
                let step = match is_admitted {
                    true => responder.respond(question, client, seed, &self.shard, answer),
                    false => responder.truncate(question, &self.shard, answer),
                };
                match step {
                    Step::Ignore => {}
                    Step::Reply => batch.queue(index),
                    Step::Forward(pending) => self.forward(pending, from),
                }
            }
            let unsent = batch.send(&self.socket);
            self.shard.count_many(Event::Unsent, unsent);
        }
    }

    fn forward(&self, pending: Box<Pending>, client: SocketAddr) {
        let (server, shard) = (self.server.clone(), self.shard.clone());
        let socket = self.socket.clone();
        // Bounded: a query beyond the forwarder's limits ends at once.
        self.runtime.spawn(async move {
            let mut answer = Vec::new();
            server.forward(pending, &shard, &mut answer).await;
            if let Err(error) = send_nonblocking(SockRef::from(&*socket), &answer, &client.into()) {
                shard.count(Event::Unsent);
                tracing::debug!(%client, %error, "cannot answer");
            }
        });
    }
}

/// Sends a datagram without blocking, although the socket is a blocking one. If the send buffer is full, the datagram
/// is dropped, and the client repeats its query.
fn send_nonblocking(socket: SockRef<'_>, datagram: &[u8], to: &SockAddr) -> io::Result<usize> {
    socket.send_to_with_flags(datagram, to, MsgFlags::MSG_DONTWAIT.bits())
}

/// Binds another socket on the same port.
fn bind_reuse_port(first: &UdpSocket) -> io::Result<UdpSocket> {
    // Set only now, so that binding the first socket to a port in use failed.
    let first = SockRef::from(first);
    first.set_reuse_port(true)?;
    let address = first.local_addr()?;
    let domain = if address.is_ipv6() {
        Domain::IPV6
    } else {
        Domain::IPV4
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(first.only_v6()?)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn an_answer_that_finds_no_room_blocks_nobody() {
        // Over loopback datagrams never wait for room; those of this family do.
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("client");
        let _client = UnixDatagram::bind(&path).expect("free");
        let to = SockAddr::unix(&path).expect("short");
        let server = UnixDatagram::unbound().expect("a socket");
        let sent = (0..1_000_000)
            .map(|_| send_nonblocking(SockRef::from(&server), &[0; 512], &to))
            .find(Result::is_err);
        let error = sent
            .expect("the client reads nothing")
            .expect_err("found as one");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
