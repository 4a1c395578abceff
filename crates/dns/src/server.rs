//! The server: sockets around the [`Responder`].
//!
//! Questions over UDP are answered by threads of their own, each with its own socket on the same port,
//! so that nothing is shared between cores. TCP, and whatever waits for an upstream, runs on tokio.

mod tcp;
mod udp;

use crate::{
    forward::Forwarder,
    metrics::{Metrics, Shard},
    range::Views,
    reply::Transport,
    responder::{Client, Pending, Responder, Step},
    zone::Zone,
};
use std::{future::Future, io, net::IpAddr, sync::Arc, time::Instant};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

/// Answers questions over UDP and TCP.
pub struct Server {
    responder: Responder,
    forward: Option<Forwarder>,
    /// Queries per second that each worker takes from one network over UDP.
    rate_limit: Option<u32>,
}

impl Server {
    /// Asks these zones in order. What none of them knows is forwarded for clients that ask for it, or
    /// refused if there is nowhere to forward to.
    pub fn new(zones: Vec<Arc<dyn Zone>>, forward: Option<Forwarder>) -> Self {
        Self::with_views(zones, forward, Arc::default())
    }

    /// Like [`Server::new`], with views: which client sees what.
    pub fn with_views(
        zones: Vec<Arc<dyn Zone>>,
        forward: Option<Forwarder>,
        views: Arc<Views>,
    ) -> Self {
        let forward = forward.filter(|forward| !forward.upstreams().is_empty());
        Self {
            responder: Responder::new(zones, forward.is_some(), views, random()),
            forward,
            rate_limit: None,
        }
    }

    /// Answers at most so many questions per second of one network (24 bits of IPv4, 56 of IPv6) over UDP,
    /// in each worker; the others get truncated answers, so that their clients ask over TCP. Unlimited if not set.
    pub fn rate_limit(mut self, per_second: Option<u32>) -> Self {
        self.rate_limit = per_second;
        self
    }

    /// Makes this the resolver of clients that ask nobody else, as a cluster's DNS is: a name that no zone
    /// knows and that no upstream serves does not exist, instead of being refused, and names of one label
    /// are not forwarded.
    pub fn as_resolver(mut self) -> Self {
        self.responder.is_resolver = true;
        self
    }

    /// The counters, which stay readable while the server runs.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.responder.metrics.clone()
    }

    /// Answers one message over UDP without any socket, as far as the zones know the answer. False if
    /// nothing is to be sent: it is no question, or would be forwarded.
    pub fn answer(&self, message: &[u8], from: IpAddr, out: &mut Vec<u8>) -> bool {
        let client = Client {
            address: from,
            transport: Transport::Udp,
        };
        let shard = Shard::unshared();
        let step = self
            .responder
            .respond(message, client, random(), &shard, out);
        matches!(step, Step::Reply)
    }

    /// Serves a pair of sockets until `shutdown` is done; see [`Server::serve_all`].
    ///
    /// # Errors
    /// See [`Server::serve_all`].
    pub async fn serve(
        self,
        udp: UdpSocket,
        tcp: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        self.serve_all(vec![(udp, tcp)], shutdown).await
    }

    /// Serves these pairs of sockets until `shutdown` is done. Each UDP socket answers from the address
    /// that it is bound to, so on a machine with several addresses bind each of them rather than `0.0.0.0`.
    ///
    /// # Errors
    /// None once it serves: what fails for one client is counted and affects no other.
    pub async fn serve_all(
        mut self,
        sockets: Vec<(UdpSocket, TcpListener)>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        for (udp, _) in &sockets {
            let own = udp.local_addr()?;
            if let Some(forward) = &mut self.forward {
                forward.avoid(own);
            }
        }
        let server = Arc::new(self);
        // Dropping the set at the end stops every task in it, and theirs; dropping the workers stops them.
        let mut tasks = JoinSet::new();
        let mut workers = Vec::new();
        for (udp, tcp) in sockets {
            let own = udp.local_addr()?;
            workers.push(udp::Workers::start(&server, udp.into_std()?)?);
            tasks.spawn(tcp::accept(server.clone(), tcp));
            tracing::info!(address = %own, "answering DNS");
        }
        for workers in &workers {
            let ended = workers.ended();
            tasks.spawn(async move { ended.notified().await });
        }
        tokio::pin!(shutdown);
        tokio::select! {
            () = &mut shutdown => Ok(()),
            Some(ended) = tasks.join_next() => Err(match ended {
                Ok(()) => io::Error::other("a worker ended unexpectedly"),
                Err(error) => io::Error::other(error),
            }),
        }
    }

    /// Asks an upstream and writes the answer.
    async fn forward(&self, pending: Box<Pending>, shard: &Shard, out: &mut Vec<u8>) {
        let metrics = &self.responder.metrics;
        let forward = self.forward.as_ref();
        let admitted = forward.and_then(|forward| Some((forward, forward.admit(pending.client)?)));
        let response = match admitted {
            Some((forward, _admission)) => {
                metrics.forwarded.inc();
                let start = Instant::now();
                let response = forward.ask(&pending, random()).await;
                match &response {
                    Some(_) => metrics
                        .forward_seconds
                        .observe(start.elapsed().as_secs_f64()),
                    None => drop(metrics.forward_failures.inc()),
                }
                response
            }
            None => {
                metrics.forward_overflows.inc();
                None
            }
        };
        self.responder.finish(&pending, response, shard, out);
    }
}

/// An unpredictable number.
fn random() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes")
}

#[cfg(test)]
mod tests;
