//! The status of the daemon, as the control socket reports it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tombolo_kube::manifest::{self, Located};
use tombolo_linux::sandbox::Mode;
use tombolo_telemetry::ErrorChain;

use super::Daemon;
use crate::control_socket::status_summary;
use crate::control_socket::{Info, PodView, ProcessView, Status, Workload};
use crate::kubelet::manifest_warnings;
use crate::progress::Event;

/// Maximum time that the `Ready` event waits for proxies, and the interval of polls.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
const SYNC_POLL: Duration = Duration::from_millis(10);

impl Daemon {
    /// Names, addresses and clusters.
    pub(crate) async fn info(&self) -> Info {
        let server_pid = match self.control_plane.pid() {
            Some(pid) => self.host_pid(pid).await,
            None => None,
        };
        Info {
            server_pid,
            load_balancers: self.load_balancers.list(),
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

    /// Workloads, pods and problems.
    pub(crate) async fn status(&self) -> Status {
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
                .flat_map(|cluster| status_summary::mesh_problems(cluster))
                .collect(),
            findings: self.network.diagnose().await,
            events: self.progress.recent(),
        }
    }

    fn workloads(&self) -> Vec<Workload> {
        self.clusters
            .iter()
            .flat_map(|cluster| status_summary::workloads(cluster))
            .collect()
    }

    async fn pods(&self) -> Vec<PodView> {
        let mut views = Vec::new();
        let mut seen: BTreeSet<u32> = self.control_plane.pid().into_iter().collect();
        for kubelet in &self.kubelets {
            for pod in kubelet
                .cluster
                .objects
                .read(|objects| objects.list::<Pod>())
            {
                let mut view = status_summary::pod_view(&kubelet.cluster.name, &pod);
                let running = kubelet
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
        // The kernel reuses process ids.
        self.host_pids
            .lock()
            .await
            .retain(|pid, _| seen.contains(pid));
        views
    }

    /// Warnings about parts of an object that will not be run as written.
    pub(crate) fn warnings(&self, located: &Located<manifest::Object>) -> Vec<String> {
        let rootless = self.info.mode == Mode::Rootless.to_string();
        let images = self.kubelets.first().map(|kubelet| &kubelet.config.images);
        images.map_or_else(Vec::new, |images| {
            manifest_warnings::warnings(located, images, rootless)
        })
    }

    /// Reports the parts of the mesh configuration that proxies cannot do.
    async fn report_warnings(&self) {
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

    /// Waits until every proxy has acknowledged its configuration, so that the first request after `Ready` is routed.
    /// At most [`SYNC_TIMEOUT`]: a proxy that rejects its configuration must not hide the rest.
    async fn wait_until_synced(&self) {
        let all = async {
            loop {
                if self.api.status().await.is_ok_and(|status| status.synced) {
                    return;
                }
                tokio::time::sleep(SYNC_POLL).await;
            }
        };
        if tokio::time::timeout(SYNC_TIMEOUT, all).await.is_err() {
            self.progress.send(Event::Warning {
                message: "not every proxy has its configuration yet: see `tombolo status`".into(),
            });
        }
    }

    /// Reports the progress of workloads, until dropped, and [`Event::Ready`] once when all are complete.
    pub(crate) async fn report(self: Arc<Self>) {
        let mut changes = tombolo_controller::Changes::of(&self.clusters);
        let mut reported: Vec<Workload> = Vec::new();
        let mut ready = false;
        loop {
            let workloads = self.workloads();
            for workload in &workloads {
                if !ready && !reported.contains(workload) {
                    self.progress.send(Event::Workload {
                        cluster: workload.cluster.clone(),
                        object: workload.object.clone(),
                        ready: workload.ready,
                        total: workload.total,
                        waiting: workload.waiting.clone(),
                    });
                }
            }
            reported.clone_from(&workloads);
            if !ready && workloads.iter().all(|workload| workload.complete) {
                ready = true;
                self.wait_until_synced().await;
                self.report_warnings().await;
                self.announced.store(true, Ordering::Relaxed);
                self.progress.send(Event::Ready {
                    info: Box::new(self.info().await),
                });
            }
            changes.next().await;
        }
    }
}
