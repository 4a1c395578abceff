//! The running whole, as the control socket sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Mutex, Notify};
use tombolo_kube::manifest::{self, Located};
use tombolo_linux::host_link::HostLink;
use tombolo_linux::sandbox::Mode;
use tombolo_telemetry::ErrorChain;

use super::control_plane::ControlPlane;
use crate::balance::entrances::Entrances;
use crate::cluster::Cluster;
use crate::control::summary;
use crate::control::types::{Info, PodView, ProcessView, Status, Workload};
use crate::network::Network;
use crate::pod::{Host, warning};
use crate::progress::{Event, Progress};

/// How long "ready" waits for the last proxy, and how often it asks.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);
const SYNC_POLL: Duration = Duration::from_millis(10);

/// Everything that runs.
pub struct Runtime {
    /// The clusters, in order.
    pub clusters: Vec<Arc<Cluster>>,
    /// What runs their pods, in the same order.
    pub hosts: Vec<Arc<Host>>,
    /// What is between them.
    pub network: Arc<Network>,
    /// Ways in from the host.
    pub entrances: Arc<Entrances>,
    /// The control plane.
    pub control_plane: Arc<ControlPlane>,
    /// Calls to it.
    pub(crate) api: tombolo_operator::Client,
    /// What happened.
    pub progress: Progress,
    /// Whether [`Event::Ready`] was said. Before the manifests are in, nothing is missing, so this is what
    /// "ready" starts from.
    pub(crate) announced: AtomicBool,
    /// Told when somebody wants everything to stop.
    pub stop: Notify,
    /// The parts of [`Info`] that never change.
    pub(crate) info: Info,
    pub(crate) host: HostLink,
    /// Process ids of containers as the host sees them.
    pub(crate) host_pids: Mutex<BTreeMap<u32, u32>>,
}

impl Runtime {
    /// Who and where we are.
    pub async fn info(&self) -> Info {
        let server_pid = match self.control_plane.pid() {
            Some(pid) => self.host_pid(pid).await,
            None => None,
        };
        Info {
            server_pid,
            load_balancers: self.entrances.list(),
            ..self.info.clone()
        }
    }

    async fn host_pid(&self, pid: u32) -> Option<u32> {
        let mut known = self.host_pids.lock().await;
        if let Some(host) = known.get(&pid) {
            return Some(*host);
        }
        let host = self.host.host_pid(pid).await.ok()?;
        known.insert(pid, host);
        Some(host)
    }

    /// How it goes.
    pub async fn status(&self) -> Status {
        let workloads = self.workloads();
        Status {
            info: self.info().await,
            ready: self.announced.load(Ordering::Relaxed)
                && workloads.iter().all(|workload| workload.complete),
            workloads,
            pods: self.pods().await,
            mesh_problems: self
                .clusters
                .iter()
                .flat_map(|cluster| summary::mesh_problems(cluster))
                .collect(),
            findings: self.network.diagnose().await,
            events: self.progress.recent(),
        }
    }

    fn workloads(&self) -> Vec<Workload> {
        self.clusters
            .iter()
            .flat_map(|cluster| summary::workloads(cluster))
            .collect()
    }

    async fn pods(&self) -> Vec<PodView> {
        let mut views = Vec::new();
        let mut seen: BTreeSet<u32> = self.control_plane.pid().into_iter().collect();
        for host in &self.hosts {
            for pod in host.cluster.objects.read(|objects| objects.list::<Pod>()) {
                let mut view = summary::pod_view(&host.cluster.name, &pod);
                let running = host
                    .pod(&view.namespace, &view.name)
                    .map(|running| running.processes())
                    .unwrap_or_default();
                for (container, pid) in running {
                    seen.insert(pid);
                    if let Some(pid) = self.host_pid(pid).await {
                        view.processes.push(ProcessView { container, pid });
                    }
                }
                views.push(view);
            }
        }
        // A number that is free again will be used again.
        self.host_pids
            .lock()
            .await
            .retain(|pid, _| seen.contains(pid));
        views
    }

    /// What of an object will not be as written.
    pub(crate) fn warnings(&self, located: &Located<manifest::Object>) -> Vec<String> {
        let rootless = self.info.mode == Mode::Rootless.to_string();
        let images = self.hosts.first().map(|host| &host.common.images);
        images.map_or_else(Vec::new, |images| {
            warning::warnings(located, images, rootless)
        })
    }

    /// Tells what the mesh asks for and the proxies do not do.
    async fn tell_warnings(&self) {
        match self.api.status().await {
            Ok(status) => {
                for of_workload in status.warnings {
                    for warning in of_workload.warnings {
                        let message = format!("{}: {}", of_workload.workload, warning.message);
                        self.progress.send(Event::Warning { message });
                    }
                }
            }
            Err(error) => tracing::warn!(error = %ErrorChain(&error), "warnings not read"),
        }
    }

    /// Waits until every proxy has acknowledged what it should hold, so that the first request of whoever
    /// was told "ready" finds its way. Bounded: a proxy that rejects its configuration must not hide the
    /// rest.
    async fn synced(&self) {
        let all = async {
            loop {
                if self.api.status().await.is_ok_and(|status| status.synced) {
                    return;
                }
                tokio::time::sleep(SYNC_POLL).await;
            }
        };
        if tokio::time::timeout(SYNC_PATIENCE, all).await.is_err() {
            self.progress.send(Event::Warning {
                message: "not every proxy has its configuration yet: see `tombolo status`".into(),
            });
        }
    }

    /// Tells how workloads come up, until dropped. Says [`Event::Ready`] once when all are there.
    pub async fn report(self: Arc<Self>) {
        let mut changes = tombolo_controller::Changes::of(&self.clusters);
        let mut told: Vec<Workload> = Vec::new();
        let mut ready = false;
        loop {
            let workloads = self.workloads();
            for workload in &workloads {
                if !ready && !told.contains(workload) {
                    self.progress.send(Event::Workload {
                        cluster: workload.cluster.clone(),
                        object: workload.object.clone(),
                        ready: workload.ready,
                        total: workload.total,
                        waiting: workload.waiting.clone(),
                    });
                }
            }
            told.clone_from(&workloads);
            if !ready && workloads.iter().all(|workload| workload.complete) {
                ready = true;
                self.synced().await;
                self.tell_warnings().await;
                self.announced.store(true, Ordering::Relaxed);
                self.progress.send(Event::Ready {
                    info: Box::new(self.info().await),
                });
            }
            changes.next().await;
        }
    }
}
