//! Questions over UDP.

use super::{Server, random};
use crate::{message::Transport, responder::Step, zone::Draw};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::UdpSocket, task::JoinSet};

/// Questions are short; what is longer is cut by the kernel and then malformed.
const LONGEST_QUESTION: usize = 4096;

/// Answers questions for as long as it is polled. Only a question that has to wait for an upstream gets a
/// task of its own; everything else is answered from here, one after the other.
pub(super) async fn work(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut draw = Draw(random());
    let mut question = vec![0; LONGEST_QUESTION];
    let mut answer = Vec::with_capacity(LONGEST_QUESTION);
    let mut waiting = JoinSet::new();
    loop {
        let (length, client) = match socket.recv_from(&mut question).await {
            Ok(received) => received,
            Err(error) => {
                // Errors of an unconnected socket belong to earlier answers or to a lack of memory; both
                // pass, and without this pause the second would spin.
                tracing::debug!(%error, "cannot receive");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        server.responder.metrics.udp_packets.add();
        let step = server.responder.respond(
            &question[..length],
            client.ip(),
            Transport::Udp,
            draw.next(),
            &mut answer,
        );
        match step {
            Step::Ignore => {}
            Step::Reply => send(&socket, &answer, client).await,
            Step::Forward(pending) => {
                while waiting.try_join_next().is_some() {}
                let (server, socket) = (server.clone(), socket.clone());
                // Bounded: a question beyond the forwarder's limit ends at once.
                waiting.spawn(async move {
                    let mut answer = Vec::new();
                    server.forward(pending, &mut answer).await;
                    send(&socket, &answer, client).await;
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    let sent = match socket.try_send_to(answer, client) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            socket.send_to(answer, client).await
        }
        sent => sent,
    };
    if let Err(error) = sent {
        tracing::debug!(%client, %error, "cannot answer");
    }
}
