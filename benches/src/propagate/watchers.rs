//! Proxies that take configuration and do nothing with it but note the time.

use super::{PATIENCE, mesh::Mesh};
use crate::Result;
use std::{net::SocketAddr, time::Instant};
use tokio::sync::mpsc;
use tombolo_xds::{Client, ClientOptions, Node};

/// A number of them. Each reports when it holds a new configuration.
pub(super) struct Watchers {
    reports: Vec<mpsc::UnboundedReceiver<(u64, Instant)>>,
}

impl Watchers {
    /// Starts them, and waits until each holds its first configuration.
    pub(super) async fn start(xds: SocketAddr, mesh: &Mesh, count: usize) -> Result<Self> {
        let mut watchers = Self {
            reports: Vec::new(),
        };
        for i in 0..count {
            let node = Node {
                id: mesh.front(i),
                cluster: mesh.front(i),
                ..Node::default()
            };
            let (_client, mut updates) =
                Client::start(ClientOptions::new(format!("http://{xds}"), node))?;
            let (report, reports) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                while let Some(update) = updates.next().await {
                    let held = (update.snapshot.revision(), Instant::now());
                    update.accept();
                    if report.send(held).is_err() {
                        return;
                    }
                }
            });
            watchers.reports.push(reports);
        }
        let first = watchers.after(0);
        tokio::time::timeout(PATIENCE, first)
            .await
            .map_err(|_| "no configuration arrives")??;
        Ok(watchers)
    }

    /// When each of them had a revision after this one.
    pub(super) async fn after(&mut self, revision: u64) -> Result<Vec<Instant>> {
        let mut times = Vec::with_capacity(self.reports.len());
        for reports in &mut self.reports {
            loop {
                let (held, at) = reports.recv().await.ok_or("a proxy has stopped")?;
                if held > revision {
                    times.push(at);
                    break;
                }
            }
        }
        Ok(times)
    }
}
