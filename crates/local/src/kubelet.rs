//! The kubelet of a cluster: one worker for each Pod object.

pub(crate) mod container_log;
pub(crate) mod container_spec;
mod env;
pub(crate) mod manifest_warnings;
mod probe;
mod references;
mod restart_policy;
mod security_context;
pub(crate) mod status;
mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tombolo_kube::ObjectExt;
use tombolo_linux::container::{ExecSpec, User};
use tombolo_telemetry::supervisor::catch_panic;

use crate::cluster::Cluster;
use crate::container_runtime::{ContainerRuntime, Process};
use crate::network::ip_allocation::PodAddresses;
use container_log::Log;
use container_spec::ContainerConfig;

/// Runs the pods of one cluster.
pub(crate) struct Kubelet {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) config: ContainerConfig,
    container_runtime: Arc<dyn ContainerRuntime>,
    /// The address of the cluster's node.
    node: Ipv4Addr,
    /// Directory of the pods' files.
    state_dir: PathBuf,
    /// Time that a terminating pod keeps serving, so that proxies learn of its removal first.
    drain: Duration,
    addresses: Mutex<PodAddresses>,
    /// Pods that have a worker, by uid.
    running: Mutex<BTreeMap<String, Arc<RunningPod>>>,
}

/// A pod with a worker, for `exec`, `logs` and `status`.
pub(crate) struct RunningPod {
    namespace: String,
    name: String,
    /// By container name.
    containers: Mutex<BTreeMap<String, ContainerHandle>>,
}

/// The process and the logs of a container.
#[derive(Clone, Default)]
pub(crate) struct ContainerHandle {
    /// The running process.
    pub(crate) process: Option<Arc<dyn Process>>,
    /// Environment that it was started with.
    env: Vec<(OsString, OsString)>,
    /// Directory that it was started in.
    cwd: Option<PathBuf>,
    user: Option<User>,
    /// Output of the current or last run.
    pub(crate) log: Option<Arc<Log>>,
    /// Output of the previous run.
    pub(crate) previous: Option<Arc<Log>>,
}

impl ContainerHandle {
    /// The spec of another program with the container's environment, directory and user.
    pub(crate) fn exec_spec(&self, argv: Vec<String>) -> ExecSpec {
        ExecSpec {
            argv: argv.into_iter().map(OsString::from).collect(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            user: self.user,
            ..ExecSpec::default()
        }
    }
}

impl RunningPod {
    /// The handle of a container by name.
    pub(crate) fn container(&self, name: &str) -> Option<ContainerHandle> {
        self.containers.lock().get(name).cloned()
    }

    /// Every container that runs, with its process id in the runtime's pid namespace.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        let containers = self.containers.lock();
        let running = containers
            .iter()
            .filter_map(|(name, handle)| Some((name.clone(), handle.process.as_ref()?.id())));
        running.collect()
    }
}

impl Kubelet {
    /// A kubelet without pods. `node` is the address of the cluster's node; pods keep files in `state_dir`, and keep
    /// serving for `drain` when they terminate.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        container_runtime: Arc<dyn ContainerRuntime>,
        config: ContainerConfig,
        node: Ipv4Addr,
        state_dir: PathBuf,
        drain: Duration,
    ) -> Self {
        Self {
            addresses: Mutex::new(PodAddresses::new(cluster.range)),
            cluster,
            config,
            container_runtime,
            node,
            state_dir,
            drain,
            running: Mutex::default(),
        }
    }

    /// A running pod by name.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<RunningPod>> {
        let running = self.running.lock();
        let mut pods = running.values();
        let found = pods.find(|pod| pod.namespace == namespace && pod.name == name);
        found.cloned()
    }

    /// Starts a worker for each Pod object without one, at each change, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut changes = self.cluster.objects.watch();
        loop {
            for pod in self.cluster.objects.read(|objects| objects.list::<Pod>()) {
                self.start_worker(pod);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn start_worker(self: &Arc<Self>, pod: Arc<Pod>) {
        let uid = pod.uid().to_owned();
        let mut workers = self.running.lock();
        if uid.is_empty() || workers.contains_key(&uid) {
            return;
        }
        let running = Arc::new(RunningPod {
            namespace: pod.namespace().to_owned(),
            name: pod.name().to_owned(),
            containers: Mutex::default(),
        });
        workers.insert(uid.clone(), running.clone());
        drop(workers);
        let kubelet = self.clone();
        tokio::spawn(async move {
            let work = worker::run(kubelet.clone(), pod.clone(), running);
            if let Err(panic) = catch_panic(work).await {
                let pod_name = pod.name();
                tracing::error!(
                    pod = pod_name,
                    %panic,
                    "pod worker panicked; the pod is removed"
                );
                worker::remove_object(&kubelet, &pod);
            }
            kubelet.running.lock().remove(&uid);
        });
    }

    /// Waits until no pod has a worker, at most for `timeout`.
    pub(crate) async fn wait_until_drained(&self, timeout: Duration) {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut changes = self.cluster.objects.watch();
        while !self.running.lock().is_empty() && tokio::time::Instant::now() < deadline {
            // Workers end right after their object: check again soon after each change.
            let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests;
