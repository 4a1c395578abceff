//! Questions over TCP (RFC 7766): two bytes of length, then the message.
//!
//! A client may send several questions without waiting. What is known is answered in their order; a
//! question that waits for an upstream is answered when the upstream has, and holds up no other.

use super::{Server, random};
use crate::{
    metrics::Shard,
    reply::Transport,
    responder::{Client, Step},
    zone::Draw,
};
use parking_lot::Mutex;
use std::{collections::HashMap, io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

/// How many connections may be open at once.
const MOST_CONNECTIONS: usize = 512;

/// How many of these one client may have.
const MOST_PER_CLIENT: usize = 64;

/// How many questions of one connection may wait for upstreams; its next ones are not read before.
const MOST_WAITING: usize = 32;

/// How long a connection may take for one message, or go without any.
const PATIENCE: Duration = Duration::from_secs(10);

/// Questions are short; a connection that announces a longer message speaks another protocol.
const LONGEST_QUESTION: usize = 4096;

/// Answers collected before they are written.
const MOST_UNWRITTEN: usize = 65_536;

/// The open connections by client.
#[derive(Default)]
struct Room {
    open: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A place in the room.
struct Seat {
    room: Arc<Mutex<Room>>,
    client: IpAddr,
}

impl Seat {
    fn take(room: &Arc<Mutex<Room>>, client: IpAddr) -> Option<Self> {
        let mut taken = room.lock();
        let own = taken.by_client.get(&client).copied().unwrap_or_default();
        if taken.open >= MOST_CONNECTIONS || own >= MOST_PER_CLIENT {
            return None;
        }
        taken.open += 1;
        taken.by_client.insert(client, own + 1);
        let room = room.clone();
        Some(Self { room, client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.open -= 1;
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

/// Accepts connections for as long as it is polled.
pub(super) async fn accept(server: Arc<Server>, listener: TcpListener) {
    let room = Arc::<Mutex<Room>>::default();
    let shard = server.responder.metrics.shard();
    let mut connections = JoinSet::new();
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // A client that is gone already, or no file descriptor left; wait for one to be freed.
                tracing::debug!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let Some(seat) = Seat::take(&room, client.ip()) else {
            server.responder.metrics.tcp_overflows.add();
            continue;
        };
        let conversation = Conversation {
            server: server.clone(),
            shard: shard.clone(),
            client: Client {
                address: client.ip(),
                transport: Transport::Tcp,
            },
            draw: Draw(random()),
            stream,
            unread: Vec::with_capacity(LONGEST_QUESTION),
            unwritten: Vec::new(),
            waiting: JoinSet::new(),
        };
        connections.spawn(async move {
            let _seat = seat;
            if let Err(error) = conversation.run().await {
                tracing::debug!(%client, %error, "a connection ended early");
            }
        });
    }
}

/// One connection.
struct Conversation {
    server: Arc<Server>,
    shard: Arc<Shard>,
    client: Client,
    draw: Draw,
    stream: TcpStream,
    /// Bytes that came and are not yet a whole question.
    unread: Vec<u8>,
    /// Framed answers.
    unwritten: Vec<u8>,
    /// Questions that wait for upstreams; each ends with its answer.
    waiting: JoinSet<Vec<u8>>,
}

impl Conversation {
    async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut deadline = Instant::now() + PATIENCE;
        let mut is_open = true;
        while is_open || !self.waiting.is_empty() {
            let may_read = is_open && self.waiting.len() < MOST_WAITING;
            tokio::select! {
                Some(answer) = self.waiting.join_next() => {
                    // A question whose task failed gets no answer, as if it were lost.
                    self.frame(&answer.unwrap_or_default());
                    deadline = Instant::now() + PATIENCE;
                }
                read = timeout_at(deadline, self.stream.read_buf(&mut self.unread)), if may_read => {
                    match read {
                        // Those who only wait for answers are patient.
                        Err(_) if !self.waiting.is_empty() => deadline = Instant::now() + PATIENCE,
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
                    deadline = Instant::now() + PATIENCE;
                }
                if self.unwritten.is_empty() {
                    break;
                }
                let written = timeout(PATIENCE, self.stream.write_all(&self.unwritten)).await;
                written.map_err(|_| io::ErrorKind::TimedOut)??;
                self.unwritten.clear();
            }
        }
        Ok(())
    }

    /// Answers the whole questions that came, as far as there is room. `None` if the client speaks another
    /// protocol; else whether there were any.
    fn answer_unread(&mut self) -> Option<bool> {
        let mut answer = Vec::new();
        let mut rest = 0;
        while self.unwritten.len() < MOST_UNWRITTEN && self.waiting.len() < MOST_WAITING {
            let Some(length) = self.unread.get(rest..rest + 2) else {
                break;
            };
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            if length > LONGEST_QUESTION {
                return None;
            }
            let Some(question) = self.unread.get(rest + 2..rest + 2 + length) else {
                break;
            };
            rest += 2 + length;
            let (client, seed) = (self.client, self.draw.next());
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
        // Invariant: no answer is written longer than 65,535 bytes.
        let length = answer.len() as u16;
        self.unwritten.extend_from_slice(&length.to_be_bytes());
        self.unwritten.extend_from_slice(answer);
    }
}
