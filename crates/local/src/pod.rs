//! Pods as running things: one worker for each Pod object of a cluster.

pub mod log;
pub mod probe;
pub mod process;
pub mod restart;
pub mod security;
pub mod state;
pub mod volume;
pub mod warning;
mod worker;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tombolo_telemetry::supervisor::catch_panic;

use crate::cluster::Cluster;
use crate::machine::{ExecSpec, Machine, Process};
use crate::network::address::PodAddresses;
use log::Log;

/// All that runs the pods of one cluster.
pub struct Host {
    /// The cluster whose pods these are.
    pub cluster: Arc<Cluster>,
    /// The machine below.
    pub machine: Arc<dyn Machine>,
    /// What is the same for every container.
    pub common: process::Common,
    /// The address of the cluster's node.
    pub node: Ipv4Addr,
    /// Where pods keep files while they live.
    pub state_dir: PathBuf,
    /// How long a terminating pod goes on serving, so that everybody hears that it leaves before it does.
    pub drain: Duration,
    /// Addresses in use. Guards only the set; held for moments.
    addresses: Mutex<PodAddresses>,
    /// Pods that have a worker, by uid.
    running: Mutex<BTreeMap<String, Arc<RunningPod>>>,
}

/// A pod with a worker, as `exec`, `logs` and `status` reach it.
pub struct RunningPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Guards the handles of its containers by name.
    containers: Mutex<BTreeMap<String, ContainerHandle>>,
}

/// What can be reached of a container.
#[derive(Clone, Default)]
pub struct ContainerHandle {
    /// The running process.
    pub process: Option<Arc<dyn Process>>,
    /// Environment that it was started with.
    pub env: BTreeMap<String, String>,
    /// Where it was started.
    pub workdir: Option<PathBuf>,
    /// Whom it runs as.
    pub user: Option<(u32, u32)>,
    /// Output of the current or last run.
    pub log: Option<Arc<Log>>,
    /// Output of the run before.
    pub previous: Option<Arc<Log>>,
}

impl ContainerHandle {
    /// A further program that sees what the container's own sees.
    pub fn program(&self, argv: Vec<String>) -> ExecSpec {
        ExecSpec {
            argv,
            env: self.env.clone(),
            workdir: self.workdir.clone(),
            user: self.user,
            ..ExecSpec::default()
        }
    }
}

impl RunningPod {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, ContainerHandle>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a container by name.
    pub fn container(&self, name: &str) -> Option<ContainerHandle> {
        self.containers().get(name).cloned()
    }

    /// Every container that runs, with its process id in the runtime's pid namespace.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let containers = self.containers();
        containers
            .iter()
            .filter_map(|(name, handle)| Some((name.clone(), handle.process.as_ref()?.id())))
            .collect()
    }
}

impl Host {
    /// A host without pods.
    pub fn new(
        cluster: Arc<Cluster>,
        machine: Arc<dyn Machine>,
        common: process::Common,
        node: Ipv4Addr,
        state_dir: PathBuf,
        drain: Duration,
    ) -> Self {
        let addresses = Mutex::new(PodAddresses::new(cluster.range));
        Self {
            cluster,
            machine,
            common,
            node,
            state_dir,
            drain,
            addresses,
            running: Mutex::default(),
        }
    }

    fn addresses(&self) -> MutexGuard<'_, PodAddresses> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<RunningPod>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A running pod by name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<RunningPod>> {
        self.workers()
            .values()
            .find(|pod| pod.namespace == namespace && pod.name == name)
            .cloned()
    }

    /// Every pod that has a worker.
    pub fn pods(&self) -> Vec<Arc<RunningPod>> {
        self.workers().values().cloned().collect()
    }

    /// Gives each Pod object a worker, at each change, until dropped.
    pub async fn run(self: Arc<Self>) {
        let mut changes = self.cluster.objects.watch();
        loop {
            for pod in self.cluster.objects.read(|objects| objects.list::<Pod>()) {
                self.take_up(pod);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn take_up(self: &Arc<Self>, pod: Arc<Pod>) {
        let Some(uid) = pod.metadata.uid.clone() else {
            return;
        };
        let mut workers = self.workers();
        if workers.contains_key(&uid) {
            return;
        }
        let running = Arc::new(RunningPod {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            containers: Mutex::default(),
        });
        workers.insert(uid.clone(), running.clone());
        drop(workers);
        let host = self.clone();
        tokio::spawn(async move {
            let name = running.name.clone();
            let life = worker::run(host.clone(), pod.clone(), running);
            if let Err(panicked) = catch_panic(life).await {
                tracing::error!(
                    pod = name,
                    %panicked,
                    "the worker of a pod failed; the pod is removed"
                );
                worker::forget(&host, &pod);
            }
            host.workers().remove(&uid);
        });
    }

    /// Waits until no pod has a worker, at most `patience`.
    pub async fn drained(&self, patience: Duration) {
        let deadline = tokio::time::Instant::now() + patience;
        let mut changes = self.cluster.objects.watch();
        while !self.workers().is_empty() && tokio::time::Instant::now() < deadline {
            // Workers leave right after their object: look again soon after each change.
            let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests;
