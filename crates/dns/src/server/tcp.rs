//! DNS over TCP (RFC 7766): two bytes of length, then the message.
//!
//! A client may pipeline queries. Those that the zones answer are answered in order; a query that waits for an upstream
//! is answered when the upstream responds, and blocks no other.

use super::{Server, random};
use crate::{
    limit::ClientLimit,
    metrics::Shard,
    reply::Transport,
    responder::{Client, Step},
};
use fastrand::Rng;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tombolo_telemetry::Outage;

/// The greatest number of open connections.
const MAX_CONNECTIONS: usize = 512;

/// The greatest number of open connections of one client.
const MAX_CONNECTIONS_PER_CLIENT: usize = 64;

/// The greatest number of queries of one connection that wait for upstreams; further ones are not read meanwhile.
const MAX_PENDING: usize = 32;

/// The timeout of a message, and of the time between two messages; then the connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum length of a query, in bytes; a client that announces a longer message speaks another protocol.
const MAX_QUERY_LEN: usize = 4096;

/// The size of buffered responses, in bytes, above which no further queries are answered.
const MAX_UNWRITTEN: usize = 65_536;

/// Accepts connections for as long as it is polled.
pub(super) async fn accept(server: Arc<Server>, listener: TcpListener) {
    let limit = ClientLimit::new(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_CLIENT);
    let shard = server.responder.metrics.shard();
    let mut connections = JoinSet::new();
    let mut outage = Outage::default();
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The client has disconnected, or there is no free file descriptor.
                if outage.begins() {
                    tracing::warn!(%error, "cannot accept DNS connections");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        if let Some(failures) = outage.ended() {
            tracing::info!(failures, "accepting DNS connections again");
        }
        while connections.try_join_next().is_some() {}
        let Some(permit) = limit.acquire(client.ip()) else {
            server.responder.metrics.tcp_overflows.inc();
            continue;
        };
        let connection = Connection {
            server: server.clone(),
            shard: shard.clone(),
            client: Client {
                address: client.ip(),
                transport: Transport::Tcp,
            },
            rng: Rng::with_seed(random()),
            stream,
            unread: Vec::with_capacity(MAX_QUERY_LEN),
            unwritten: Vec::new(),
            waiting: JoinSet::new(),
        };
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.run().await {
                tracing::debug!(%client, %error, "a connection ended early");
            }
        });
    }
}

/// One connection.
struct Connection {
    server: Arc<Server>,
    shard: Arc<Shard>,
    client: Client,
    rng: Rng,
    stream: TcpStream,
    /// Received bytes of an incomplete query.
    unread: Vec<u8>,
    /// Responses with their length prefixes.
    unwritten: Vec<u8>,
    /// Queries that wait for upstreams; each task ends with its response.
    waiting: JoinSet<Vec<u8>>,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut deadline = Instant::now() + IDLE_TIMEOUT;
        let mut is_open = true;
        while is_open || !self.waiting.is_empty() {
            let may_read = is_open && self.waiting.len() < MAX_PENDING;
            tokio::select! {
                Some(answer) = self.waiting.join_next() => {
                    // A query whose task panicked gets no answer.
                    self.frame(&answer.unwrap_or_default());
                    deadline = Instant::now() + IDLE_TIMEOUT;
                }
                read = timeout_at(deadline, self.stream.read_buf(&mut self.unread)), if may_read => {
                    match read {
                        // A client that waits for answers is not idle.
                        Err(_) if !self.waiting.is_empty() => deadline = Instant::now() + IDLE_TIMEOUT,
                        Err(_) => return Ok(()),
                        Ok(read) => is_open = read? > 0,
                    }
                }
            }
            loop {
                let Some(answered) = self.answer_unread() else {
                    return Ok(());
                };
                if answered {
                    deadline = Instant::now() + IDLE_TIMEOUT;
                }
                if self.unwritten.is_empty() {
                    break;
                }
                let written = timeout(IDLE_TIMEOUT, self.stream.write_all(&self.unwritten)).await;
                written.map_err(|_| io::ErrorKind::TimedOut)??;
                self.unwritten.clear();
            }
        }
        Ok(())
    }

    /// Answers the complete queries in the buffer, within the limits. Returns whether there were any; `None` if
    /// the client speaks another protocol.
    fn answer_unread(&mut self) -> Option<bool> {
        let mut answer = Vec::new();
        let mut rest = 0;
        while self.unwritten.len() < MAX_UNWRITTEN && self.waiting.len() < MAX_PENDING {
            let Some(length) = self.unread.get(rest..rest + 2) else {
                break;
            };
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            if length > MAX_QUERY_LEN {
                return None;
            }
            let Some(question) = self.unread.get(rest + 2..rest + 2 + length) else {
                break;
            };
            rest += 2 + length;
            let (client, seed) = (self.client, self.rng.u64(..));
            let responder = &self.server.responder;
            match responder.respond(question, client, seed, &self.shard, &mut answer) {
                Step::Ignore => return None,
                Step::Reply => self.frame(&answer),
                Step::Forward(pending) => {
                    let (server, shard) = (self.server.clone(), self.shard.clone());
                    self.waiting.spawn(async move {
                        let mut answer = Vec::new();
                        server.forward(pending, &shard, &mut answer).await;
                        answer
                    });
                }
            }
        }
        self.unread.drain(..rest);
        Some(rest > 0)
    }

    fn frame(&mut self, answer: &[u8]) {
        if answer.is_empty() {
            return;
        }
        // Invariant: responses have at most 65,535 bytes.
        let length = answer.len() as u16;
        self.unwritten.extend_from_slice(&length.to_be_bytes());
        self.unwritten.extend_from_slice(answer);
    }
}
