//! The server: sockets around the [`Responder`].

mod tcp;
mod udp;

use crate::{
    forward::Forwarder,
    metrics::Metrics,
    responder::{Pending, Responder},
    zone::Zone,
};
use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    sync::Arc,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

/// Answers questions over UDP and TCP.
pub struct Server {
    responder: Responder,
    forward: Option<Forwarder>,
}

impl Server {
    /// Asks these zones in order. What none of them knows is forwarded for clients that ask for it, or
    /// refused if there is nowhere to forward to.
    pub fn new(zones: Vec<Arc<dyn Zone>>, forward: Option<Forwarder>) -> Self {
        let forward = forward.filter(|forward| !forward.upstreams().is_empty());
        Self {
            responder: Responder::new(zones, forward.is_some(), random()),
            forward,
        }
    }

    /// The counters, which stay readable while the server runs.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.responder.metrics.clone()
    }

    /// Serves these sockets until `shutdown` is done. Each UDP socket answers from the address that it is
    /// bound to, so on a machine with several addresses bind each of them rather than `0.0.0.0`.
    ///
    /// # Errors
    /// None once it serves: what fails for one client is that client's affair and is counted.
    pub async fn serve(
        mut self,
        udp: UdpSocket,
        tcp: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let own = udp.local_addr()?;
        if let Some(forward) = &mut self.forward {
            forward.avoid(own);
        }
        let server = Arc::new(self);
        let udp = Arc::new(udp);
        // Dropping the set at the end stops every task in it, and theirs.
        let mut tasks = JoinSet::new();
        let workers = std::thread::available_parallelism()
            .map_or(1, |n| n.get())
            .min(4);
        for _ in 0..workers {
            tasks.spawn(udp::work(server.clone(), udp.clone()));
        }
        tasks.spawn(tcp::accept(server.clone(), tcp));
        tracing::info!(address = %own, "answering DNS");
        tokio::pin!(shutdown);
        tokio::select! {
            () = &mut shutdown => Ok(()),
            Some(Err(error)) = tasks.join_next() => Err(io::Error::other(error)),
        }
    }

    /// Asks an upstream and writes the answer.
    async fn forward(&self, pending: Box<Pending>, out: &mut Vec<u8>) {
        let metrics = &self.responder.metrics;
        let said = match &self.forward {
            Some(forward) => match forward.admit() {
                Some(_permit) => {
                    metrics.forwarded.add();
                    let said = forward.ask(&pending).await;
                    if said.is_none() {
                        metrics.forward_failures.add();
                    }
                    said
                }
                None => {
                    metrics.forward_overflows.add();
                    None
                }
            },
            None => None,
        };
        self.responder.finish(*pending, said, out);
    }
}

/// A number that nobody outside can guess: each `RandomState` has keys of its own.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
