//! Proxies that receive configuration and only record the time: delta streams that subscribe like Envoy, and
//! acknowledge everything.

use super::{TIMEOUT, mesh::Mesh};
use crate::Result;
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_xds::{
    Kind, Node, Resource,
    envoy::pb::envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use tonic::transport::Endpoint;

/// A set of such proxies.
pub(super) struct Watchers {
    reports: Vec<mpsc::UnboundedReceiver<Result<Report>>>,
    received: Arc<Received>,
    /// Aborted on drop.
    tasks: JoinSet<()>,
}

/// The total received so far.
#[derive(Default)]
pub(super) struct Received {
    pub(super) messages: AtomicUsize,
    pub(super) bytes_by_kind: [AtomicUsize; Kind::ALL.len()],
}

/// A response to a proxy.
struct Report {
    kind: Kind,
    revision: u64,
    at: Instant,
}

impl Watchers {
    /// Starts them, and waits until each holds its first configuration.
    pub(super) async fn start(xds: SocketAddr, mesh: &Mesh, count: usize) -> Result<Self> {
        let mut watchers = Self {
            reports: Vec::new(),
            received: Arc::default(),
            tasks: JoinSet::new(),
        };
        for i in 0..count {
            let proxy = Proxy::connect(xds, &mesh.front(i)).await?;
            let (report, reports) = mpsc::unbounded_channel();
            let received = watchers.received.clone();
            watchers.tasks.spawn(async move {
                if let Err(error) = proxy.follow(&report, &received).await {
                    // The receiver is dropped when the benchmark ends.
                    let _ = report.send(Err(error));
                }
            });
            watchers.reports.push(reports);
        }
        // Routes are the last part of the first configuration.
        watchers.after(0, Kind::Route).await?;
        watchers.quiet().await;
        Ok(watchers)
    }

    /// The total received so far.
    pub(super) fn received(&self) -> &Received {
        &self.received
    }

    /// The times at which each of them got a response of this kind that is newer than this revision.
    pub(super) async fn after(&mut self, revision: u64, kind: Kind) -> Result<Vec<Instant>> {
        let mut held = Vec::new();
        for reports in &mut self.reports {
            loop {
                let report = tokio::time::timeout(TIMEOUT, reports.recv()).await;
                let report = report.map_err(|_| "a proxy does not hold a change")?;
                let report = report.ok_or("a proxy ended")??;
                if report.kind == kind && report.revision > revision {
                    held.push(report.at);
                    break;
                }
            }
        }
        Ok(held)
    }

    /// Waits until no more responses arrive.
    pub(super) async fn quiet(&mut self) {
        loop {
            let messages = || self.received.messages.load(Ordering::Relaxed);
            let before = messages();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if messages() == before {
                break;
            }
        }
        for reports in &mut self.reports {
            while reports.try_recv().is_ok() {}
        }
    }
}

struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: tonic::Streaming<DeltaDiscoveryResponse>,
    subscribed: HashSet<(Kind, String)>,
}

impl Proxy {
    async fn connect(xds: SocketAddr, name: &str) -> Result<Self> {
        // Windows as large as Envoy's; smaller ones would measure flow control.
        let channel = Endpoint::from_shared(format!("http://{xds}"))?
            .initial_stream_window_size(1 << 24)
            .initial_connection_window_size(1 << 24)
            .connect()
            .await?;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(1 << 28);
        let (requests, outbound) = mpsc::channel(32);
        let node = Node {
            id: name.into(),
            cluster: name.into(),
            ..Node::default()
        };
        for kind in [Kind::Cluster, Kind::Listener] {
            let request = DeltaDiscoveryRequest {
                node: Some((&node).into()),
                type_url: kind.type_url().into(),
                ..Default::default()
            };
            requests.send(request).await?;
        }
        let responses = client
            .delta_aggregated_resources(ReceiverStream::new(outbound))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            subscribed: HashSet::new(),
        })
    }

    async fn follow(
        mut self,
        report: &mpsc::UnboundedSender<Result<Report>>,
        received: &Received,
    ) -> Result<()> {
        while let Some(response) = self.responses.message().await? {
            let at = Instant::now();
            let kind = Kind::from_type_url(&response.type_url).ok_or("an unknown type")?;
            let length = prost::Message::encoded_len(&response);
            received.messages.fetch_add(1, Ordering::Relaxed);
            received.bytes_by_kind[kind as usize].fetch_add(length, Ordering::Relaxed);
            let revision = response.system_version_info.parse()?;
            let removed = response.removed_resources.clone();
            if kind == Kind::Cluster {
                self.unsubscribe(removed).await?;
            }
            let mut names: Vec<(Kind, String)> = Vec::new();
            for wire in response.resources {
                let resource = Resource::from_wire(wire)?;
                let references = resource.references().iter();
                names.extend(references.map(|to| (to.kind, to.name.to_string())));
            }
            names.retain(|name| self.subscribed.insert(name.clone()));
            for kind in [Kind::Endpoint, Kind::Route] {
                let new = names.iter().filter(|(of, _)| *of == kind);
                let new: Vec<String> = new.map(|(_, name)| name.clone()).collect();
                if !new.is_empty() {
                    let request = DeltaDiscoveryRequest {
                        type_url: kind.type_url().into(),
                        resource_names_subscribe: new,
                        ..Default::default()
                    };
                    self.requests.send(request).await?;
                }
            }
            let ack = DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..Default::default()
            };
            self.requests.send(ack).await?;
            // The receiver is dropped when the benchmark ends.
            let _ = report.send(Ok(Report { kind, revision, at }));
        }
        Ok(())
    }

    /// Unsubscribes from the endpoints of removed clusters; they have the same names.
    async fn unsubscribe(&mut self, clusters: Vec<String>) -> Result<()> {
        let names = clusters.into_iter();
        let gone: Vec<String> = names
            .filter(|name| self.subscribed.remove(&(Kind::Endpoint, name.clone())))
            .collect();
        if !gone.is_empty() {
            let request = DeltaDiscoveryRequest {
                type_url: Kind::Endpoint.type_url().into(),
                resource_names_unsubscribe: gone,
                ..Default::default()
            };
            self.requests.send(request).await?;
        }
        Ok(())
    }
}
