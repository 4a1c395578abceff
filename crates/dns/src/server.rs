//! The sockets of the server, which pass packets to the [`Responder`].
//!
//! Queries over UDP are answered by dedicated threads, each with its own socket on the same port, so that cores share
//! nothing. TCP, and queries that wait for an upstream, run on tokio.

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

/// A DNS server over UDP and TCP.
pub struct Server {
    responder: Responder,
    forward: Option<Forwarder>,
    /// The greatest number of queries per second of one network over UDP, per worker.
    rate_limit: Option<u32>,
}

impl Server {
    /// A server of these zones, which are queried in order. Recursive queries for names in no zone are forwarded, or
    /// refused if there is no forwarder.
    pub fn new(zones: Vec<Arc<dyn Zone>>, forward: Option<Forwarder>) -> Self {
        Self::with_views(zones, forward, Arc::default())
    }

    /// Like [`Server::new`], with the views of clients.
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

    /// Limits the queries per second of one network (24 bits of IPv4, 56 of IPv6) over UDP in each worker.
    /// Further ones get truncated answers, so that clients repeat them over TCP. Unlimited by default.
    pub fn rate_limit(mut self, per_second: Option<u32>) -> Self {
        self.rate_limit = per_second;
        self
    }

    /// Makes this the only resolver of its clients, such as a cluster's DNS: a name that no zone has and no
    /// upstream serves gets NXDOMAIN, not REFUSED, and names of one label are not forwarded.
    pub fn as_resolver(mut self) -> Self {
        self.responder.is_resolver = true;
        self
    }

    /// The metrics, which can be read while the server runs.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.responder.metrics.clone()
    }

    /// Answers one message as over UDP, without a socket. Returns `false` if there is no answer: the message is
    /// no query, or would be forwarded.
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

    /// Serves a pair of sockets until `shutdown` is ready; see [`Server::serve_all`].
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

    /// Serves these pairs of sockets until `shutdown` is ready. Each UDP socket answers from the address
    /// that it is bound to, so on a host with several addresses bind each of them rather than `0.0.0.0`.
    ///
    /// # Errors
    /// If a socket has no address or no thread can be started, or if a worker or task panics. An error of one client
    /// affects no other.
    pub async fn serve_all(
        mut self,
        sockets: Vec<(UdpSocket, TcpListener)>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        for (udp, _) in &sockets {
            let own = udp.local_addr()?;
            if let Some(forward) = &mut self.forward {
                forward.remove_self(own);
            }
        }
        let server = Arc::new(self);
        // Dropping these at the end stops all tasks and workers.
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

    /// Queries an upstream and writes the response.
    async fn forward(&self, pending: Box<Pending>, shard: &Shard, out: &mut Vec<u8>) {
        let metrics = &self.responder.metrics;
        let forward = self.forward.as_ref();
        let admitted = forward.and_then(|forward| Some((forward, forward.admit(pending.client)?)));
        let response = match admitted {
            Some((forward, _admission)) => {
                metrics.forwarded.inc();
                let start = Instant::now();
                let response = forward.query(&pending, random()).await;
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

/// A random number from the operating system.
fn random() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes")
}

#[cfg(test)]
mod tests;
