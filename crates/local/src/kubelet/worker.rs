//! The life cycle of one pod, from its address to the end of its last process.

mod container;
mod termination;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io, panic};

use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tombolo_kube::{ObjectExt, PodSpecExt};
use tombolo_telemetry::ErrorChain;

use super::restart_policy::{Backoff, RestartPolicy};
use super::status::{ContainerIndex, ContainerRecord, Phase, PodRecord, restarts};
use super::{Kubelet, RunningPod};
use crate::cluster::{Key, Kind, Object, now};
use crate::container_runtime::PodSandbox;
use crate::network::blocking;

/// Pause before a failed setup step is repeated.
const SETUP_RETRY: Duration = Duration::from_secs(1);

struct Worker {
    kubelet: Arc<Kubelet>,
    handle: Arc<RunningPod>,
    pod: Arc<Pod>,
    policy: RestartPolicy,
    sandbox: Arc<dyn PodSandbox>,
    /// The pod's private directory.
    dir: PathBuf,
    /// Guards the state of the pod. Taken before the object store, never after.
    record: Mutex<PodRecord>,
    /// True once containers are no longer restarted.
    stopping: watch::Sender<bool>,
}

/// Runs a pod until its object is deleted and its last process has ended.
pub(super) async fn run(kubelet: Arc<Kubelet>, pod: Arc<Pod>, handle: Arc<RunningPod>) {
    let deleted = deleted(kubelet.clone(), pod.clone());
    tokio::pin!(deleted);
    let Some((address, sandbox)) = open(&kubelet, &pod, deleted.as_mut()).await else {
        remove_object(&kubelet, &pod);
        return;
    };
    let spec = pod.spec.clone().unwrap_or_default();
    let records = |containers: &[Container], init| {
        let containers = containers.iter();
        containers
            .map(|container| ContainerRecord::new(container, init))
            .collect()
    };
    let record = PodRecord {
        since: now(),
        address,
        node: kubelet.node,
        init: records(PodSpecExt::init_containers(&spec), true),
        main: records(&spec.containers, false),
    };
    let worker = Arc::new(Worker {
        dir: kubelet.state_dir.join("pods").join(pod.uid()),
        policy: RestartPolicy::read(spec.restart_policy.as_deref()),
        record: Mutex::new(record),
        stopping: watch::channel(false).0,
        kubelet,
        handle,
        pod,
        sandbox,
    });
    worker.update(|_| {});
    let mut containers = JoinSet::new();
    containers.spawn(worker.clone().run_containers());
    // A pod whose containers have all ended stays until it is deleted.
    let panicked = tokio::select! {
        () = &mut deleted => None,
        Some(Err(error)) = containers.join_next() => error.try_into_panic().ok(),
    };
    worker.terminate().await;
    drop(containers);
    let sandbox = worker.sandbox.clone();
    blocking(move || sandbox.remove()).await;
    worker.kubelet.addresses.lock().release(address);
    if let Err(error) = fs::remove_dir_all(&worker.dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %worker.dir.display(), %error, "pod directory left behind");
    }
    remove_object(&worker.kubelet, &worker.pod);
    if let Some(panicked) = panicked {
        panic::resume_unwind(panicked);
    }
}

/// Allocates an address and creates the sandbox, with retries; `None` when the pod is deleted first.
async fn open(
    kubelet: &Kubelet,
    pod: &Pod,
    mut deleted: Pin<&mut impl Future<Output = ()>>,
) -> Option<(Ipv4Addr, Arc<dyn PodSandbox>)> {
    let name = format!("{}/{}", kubelet.cluster.name, pod.name());
    loop {
        let address = kubelet.addresses.lock().allocate();
        if let Some(address) = address {
            let (runtime, pod_name) = (kubelet.container_runtime.clone(), name.clone());
            // Must not be cancelled: the sandbox that it creates would leak.
            match blocking(move || runtime.create_sandbox(&pod_name, address)).await {
                Ok(sandbox) => return Some((address, sandbox)),
                Err(error) => {
                    kubelet.addresses.lock().release(address);
                    tracing::warn!(pod = name, error = %ErrorChain(&error), "pod has no network yet");
                }
            }
        } else {
            let range = kubelet.cluster.range;
            tracing::warn!(pod = name, %range, "pod has no network yet: no free address");
        }
        tokio::select! {
            () = deleted.as_mut() => return None,
            () = tokio::time::sleep(SETUP_RETRY) => {}
        }
    }
}

/// The object of a pod; `None` when it is deleted or its name belongs to another pod.
fn object(kubelet: &Kubelet, pod: &Pod) -> Option<Arc<Object>> {
    let key = Key::new(Kind::Pod, pod.namespace(), pod.name());
    let object = kubelet
        .cluster
        .objects
        .read(|objects| objects.object(&key).cloned());
    object.filter(|object| object.meta.uid == pod.metadata.uid)
}

/// Resolves when this pod's deletion has begun, or its object no longer exists.
async fn deleted(kubelet: Arc<Kubelet>, pod: Arc<Pod>) {
    let mut changes = kubelet.cluster.objects.watch();
    while object(&kubelet, &pod).is_some_and(|object| !object.terminating())
        && changes.changed().await.is_ok()
    {}
}

/// Removes the object of a pod.
pub(super) fn remove_object(kubelet: &Kubelet, pod: &Pod) {
    if let Some(object) = object(kubelet, pod) {
        kubelet
            .cluster
            .objects
            .write(|objects| objects.remove(&object.key));
    }
}

impl Worker {
    /// Changes the record and publishes it; an unchanged status wakes nobody.
    fn update(&self, change: impl FnOnce(&mut PodRecord)) {
        let mut record = self.record.lock();
        change(&mut record);
        self.kubelet.cluster.objects.write(|objects| {
            objects.edit::<Pod>(self.pod.namespace(), self.pod.name(), |pod| {
                if pod.metadata.uid == self.pod.metadata.uid {
                    record.publish(pod, now());
                }
            })
        });
    }

    fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Runs init containers one after the other, then all containers together.
    async fn run_containers(self: Arc<Self>) {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let mut running = JoinSet::new();
        for (index, container) in spec.init_containers.into_iter().flatten().enumerate() {
            let index = ContainerIndex::Init(index);
            if container.restart_policy.as_deref() == Some("Always") {
                running.spawn(self.clone().run_container(index, container));
                self.started(index).await;
            } else if !self.clone().run_container(index, container).await {
                return;
            }
        }
        for (index, container) in spec.containers.into_iter().enumerate() {
            running.spawn(
                self.clone()
                    .run_container(ContainerIndex::Main(index), container),
            );
        }
        while let Some(ended) = running.join_next().await {
            if let Err(Ok(panicked)) = ended.map_err(JoinError::try_into_panic) {
                panic::resume_unwind(panicked);
            }
        }
    }

    async fn started(&self, index: ContainerIndex) {
        let mut changes = self.kubelet.cluster.objects.watch();
        while !self.record.lock().container(index).started && changes.changed().await.is_ok() {}
    }

    /// Runs a container with restarts as its policy says; true when it succeeded and is not restarted.
    async fn run_container(self: Arc<Self>, index: ContainerIndex, container: Container) -> bool {
        let mut backoff = Backoff::default();
        let mut stopping = self.stopping.subscribe();
        let mut is_restart = false;
        loop {
            let begun = Instant::now();
            if std::mem::take(&mut is_restart) {
                self.update(|record| record.container(index).restarts += 1);
            }
            let pause = match self.run_once(index, &container).await {
                Ok(end) => {
                    let mut again = false;
                    self.update(|record| {
                        let container = record.container(index);
                        again =
                            !self.stopping() && restarts(self.policy, index, container, end.code);
                        container.done = !again;
                        // An init container that succeeded counts as ready.
                        container.ready =
                            !again && end.code == 0 && matches!(index, ContainerIndex::Init(_));
                        container.started = false;
                        container.phase = Phase::Terminated(end.clone());
                    });
                    if !again {
                        return end.code == 0;
                    }
                    let pause = backoff.next(begun.elapsed());
                    is_restart = true;
                    self.update(|record| {
                        let container = record.container(index);
                        if !pause.is_zero() {
                            let message = format!(
                                "back-off {}s restarting failed container={}",
                                pause.as_secs(),
                                container.name
                            );
                            container.phase = Phase::Waiting {
                                reason: "CrashLoopBackOff",
                                message: Some(message),
                            };
                        }
                        container.last = Some(end);
                    });
                    pause
                }
                Err(error) => {
                    self.update(|record| {
                        record.container(index).phase = Phase::Waiting {
                            reason: error.reason(),
                            message: Some(error.to_string()),
                        };
                    });
                    SETUP_RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return false,
            }
        }
    }
}
