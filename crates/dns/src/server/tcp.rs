//! Questions over TCP (RFC 7766): two bytes of length, then the message.

use super::{Server, random};
use crate::{message::Transport, responder::Step, zone::Draw};
use std::{io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

/// How many connections may be open at once.
const MOST_CONNECTIONS: usize = 512;

/// How long a connection may be idle, or take for one message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts connections for as long as it is polled.
pub(super) async fn accept(server: Arc<Server>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
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
        let Ok(permit) = room.clone().try_acquire_owned() else {
            server.responder.metrics.tcp_overflows.add();
            continue;
        };
        let server = server.clone();
        connections.spawn(async move {
            if let Err(error) = converse(&server, stream, client.ip()).await {
                tracing::debug!(%client, %error, "a connection ends early");
            }
            drop(permit);
        });
    }
}

/// Answers the questions of one connection in their order.
async fn converse(server: &Server, mut stream: TcpStream, client: IpAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut draw = Draw(random());
    let mut question = Vec::new();
    let mut answer = Vec::new();
    let mut framed = Vec::new();
    loop {
        match timeout(PATIENCE, read(&mut stream, &mut question)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) | Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        }
        server.responder.metrics.tcp_messages.add();
        let step =
            server
                .responder
                .respond(&question, client, Transport::Tcp, draw.next(), &mut answer);
        match step {
            // Whoever sends such things over a connection speaks another protocol.
            Step::Ignore => return Ok(()),
            Step::Reply => {}
            Step::Forward(pending) => server.forward(pending, &mut answer).await,
        }
        framed.clear();
        // Invariant: no answer is written longer than 65,535 bytes.
        framed.extend_from_slice(&(answer.len() as u16).to_be_bytes());
        framed.extend_from_slice(&answer);
        match timeout(PATIENCE, stream.write_all(&framed)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Reads a message; false at the end of the connection.
async fn read(stream: &mut TcpStream, question: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(false);
    }
    stream.read_exact(&mut length[1..]).await?;
    question.clear();
    question.resize(usize::from(u16::from_be_bytes(length)), 0);
    stream.read_exact(question).await?;
    Ok(true)
}
