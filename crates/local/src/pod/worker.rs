//! The life of one pod, from its address to its last process.

mod container;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Lifecycle, Pod};
use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_telemetry::ErrorChain;

use super::restart::{Backoff, Policy};
use super::state::{ContainerRecord, Phase, PodRecord, Slot, restarts};
use super::{Host, RunningPod, process};
use crate::clock;
use crate::cluster::{Key, Kind};
use crate::machine::{Place, Process};
use crate::network::blocking;

/// Pause before something that could not be set up is tried again.
const SETUP_RETRY: Duration = Duration::from_secs(1);

/// How long a killed process may take to be gone before it is left to the sandbox.
const KILLED: Duration = Duration::from_secs(5);

/// The least time between SIGTERM and SIGKILL after a hook has run.
const AFTER_HOOK: Duration = Duration::from_secs(2);

/// The exit code of a container whose program could not be started, as container runtimes have it.
const NOT_STARTED: i32 = 128;

struct Worker {
    host: Arc<Host>,
    handle: Arc<RunningPod>,
    pod: Arc<Pod>,
    policy: Policy,
    place: Arc<dyn Place>,
    dir: PathBuf,
    /// Guards what is known of the pod. Taken before the object store, never after.
    record: Mutex<PodRecord>,
    /// True once nothing is started again.
    stopping: watch::Sender<bool>,
}

/// Runs a pod until its object is deleted and its last process is gone.
pub(super) async fn run(host: Arc<Host>, pod: Arc<Pod>, handle: Arc<RunningPod>) {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let deleted = deletion(host.clone(), pod.clone());
    tokio::pin!(deleted);
    let Some((address, place)) = open(&host, &pod, deleted.as_mut()).await else {
        forget(&host, &pod);
        return;
    };
    let spec = pod.spec.clone().unwrap_or_default();
    let record = PodRecord {
        since: clock::now(),
        address: Some(address),
        node: host.node,
        init: spec
            .init_containers
            .iter()
            .flatten()
            .map(|container| ContainerRecord::new(container, true))
            .collect(),
        main: spec
            .containers
            .iter()
            .map(|container| ContainerRecord::new(container, false))
            .collect(),
        broken: None,
    };
    let worker = Arc::new(Worker {
        dir: host.state_dir.join("pods").join(&uid),
        policy: Policy::read(spec.restart_policy.as_deref()),
        record: Mutex::new(record),
        stopping: watch::channel(false).0,
        host,
        handle,
        pod,
        place,
    });
    worker.update(|_| {});
    let mut life = tokio::task::JoinSet::new();
    life.spawn(worker.clone().live());
    let panicked = loop {
        tokio::select! {
            () = &mut deleted => break None,
            Some(ended) = life.join_next() => if let Err(error) = ended {
                break error.try_into_panic().ok();
            }
        }
    };
    worker.end().await;
    drop(life);
    let place = worker.place.clone();
    blocking(move || place.close()).await;
    worker.host.addresses().give_back(address);
    if let Err(error) = fs::remove_dir_all(&worker.dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %worker.dir.display(), %error, "pod directory left behind");
    }
    forget(&worker.host, &worker.pod);
    if let Some(panicked) = panicked {
        std::panic::resume_unwind(panicked);
    }
}

/// An address and a place for the pod, however long that takes; `None` when it is deleted first.
async fn open(
    host: &Host,
    pod: &Pod,
    mut deleted: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Option<(std::net::Ipv4Addr, Arc<dyn Place>)> {
    let name = format!(
        "{}/{}",
        host.cluster.name,
        pod.metadata.name.as_deref().unwrap_or_default()
    );
    loop {
        let address = host.addresses().take();
        if let Some(address) = address {
            let (machine, pod_name) = (host.machine.clone(), name.clone());
            // Not to be cancelled: what it made would stay behind.
            match blocking(move || machine.open(&pod_name, address)).await {
                Ok(place) => return Some((address, place)),
                Err(error) => {
                    host.addresses().give_back(address);
                    tracing::warn!(pod = name, error = %ErrorChain(&error), "pod has no network yet");
                }
            }
        } else {
            let range = host.cluster.range;
            tracing::warn!(pod = name, %range, "pod has no network yet: no free address");
        }
        tokio::select! {
            () = deleted.as_mut() => return None,
            () = tokio::time::sleep(SETUP_RETRY) => {}
        }
    }
}

/// Resolves when this pod's deletion has begun, or when the object is gone.
async fn deletion(host: Arc<Host>, pod: Arc<Pod>) {
    let key = key(&pod);
    let mut changes = host.cluster.objects.watch();
    loop {
        let stays = host.cluster.objects.read(|objects| {
            let object = objects.object(&key);
            object
                .is_some_and(|object| object.meta.uid == pod.metadata.uid && !object.terminating())
        });
        if !stays || changes.changed().await.is_err() {
            return;
        }
    }
}

fn key(pod: &Pod) -> Key {
    let meta = &pod.metadata;
    Key::new(
        Kind::Pod,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// Removes the object, unless another pod took its name meanwhile.
pub(super) fn forget(host: &Host, pod: &Pod) {
    let key = key(pod);
    host.cluster.objects.write(|objects| {
        if objects
            .object(&key)
            .is_some_and(|object| object.meta.uid == pod.metadata.uid)
        {
            objects.remove(&key);
        }
    });
}

impl Worker {
    /// Changes the record and publishes it; an unchanged status wakes nobody.
    fn update(&self, change: impl FnOnce(&mut PodRecord)) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut record);
        let meta = &self.pod.metadata;
        let (namespace, name) = (
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        );
        self.host.cluster.objects.write(|objects| {
            objects.edit::<Pod>(namespace, name, |pod| {
                if pod.metadata.uid == meta.uid {
                    record.publish(pod, clock::now());
                }
            })
        });
    }

    fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Init containers one after the other, then all containers together.
    async fn live(self: Arc<Self>) {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let mut beside = tokio::task::JoinSet::new();
        for (index, container) in spec.init_containers.into_iter().flatten().enumerate() {
            let slot = Slot::Init(index);
            if container.restart_policy.as_deref() == Some("Always") {
                beside.spawn(self.clone().keep(slot, container));
                self.started(slot).await;
            } else if !self.clone().keep(slot, container).await {
                return;
            }
        }
        for (index, container) in spec.containers.into_iter().enumerate() {
            beside.spawn(self.clone().keep(Slot::Main(index), container));
        }
        while let Some(ended) = beside.join_next().await {
            if let Err(Ok(panicked)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
                std::panic::resume_unwind(panicked);
            }
        }
    }

    async fn started(&self, slot: Slot) {
        let mut changes = self.host.cluster.objects.watch();
        loop {
            if self
                .record
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .container(slot)
                .started
            {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs a container again and again as its policy says; true when it ended well and for good.
    async fn keep(self: Arc<Self>, slot: Slot, container: Container) -> bool {
        let mut backoff = Backoff::default();
        let mut stopping = self.stopping.subscribe();
        let mut ended = false;
        loop {
            let begun = Instant::now();
            if std::mem::take(&mut ended) {
                self.update(|record| record.container(slot).restarts += 1);
            }
            let pause = match self.run_once(slot, &container).await {
                Ok(end) => {
                    let mut again = false;
                    self.update(|record| {
                        let container = record.container(slot);
                        again =
                            !self.stopping() && restarts(self.policy, slot, container, end.code);
                        container.done = !again;
                        container.process = None;
                        (container.ready, container.started) = (
                            !again && end.code == 0 && matches!(slot, Slot::Init(_)),
                            false,
                        );
                        container.phase = Phase::Ended(end.clone());
                    });
                    if !again {
                        return end.code == 0;
                    }
                    let pause = backoff.next(begun.elapsed());
                    ended = true;
                    self.update(|record| {
                        let container = record.container(slot);
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
                Err(unstartable) => {
                    self.update(|record| {
                        record.container(slot).phase = Phase::Waiting {
                            reason: unstartable.reason,
                            message: Some(unstartable.message),
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

    /// The pod as it is now, and how long it may take to end.
    fn ending(&self) -> (Arc<Pod>, Duration) {
        let now = self
            .host
            .cluster
            .objects
            .read(|objects| objects.object(&key(&self.pod)).cloned());
        let own = now.filter(|object| object.meta.uid == self.pod.metadata.uid);
        let grace = own
            .as_ref()
            .and_then(|object| object.meta.deletion_grace_period_seconds);
        let pod = own
            .and_then(|object| object.read::<Pod>())
            .unwrap_or_else(|| self.pod.clone());
        (pod, seconds(grace, 0))
    }

    /// Ends the pod. Whoever wants that sooner than it was to be gets it.
    async fn end(&self) {
        self.stopping.send_replace(true);
        let (pod, grace) = self.ending();
        tokio::select! {
            () = self.end_within(&pod, grace) => {}
            () = self.hurried(grace) => {}
        }
        for process in self.running() {
            self.finish_by(&process, Instant::now()).await;
        }
    }

    /// Resolves when the pod was given less time than `grace`, and that is over.
    async fn hurried(&self, mut grace: Duration) {
        let begun = Instant::now();
        let mut changes = self.host.cluster.objects.watch();
        let mut deadline = None;
        loop {
            let now = self.ending().1;
            if now < grace {
                grace = now;
                deadline = Some(begun + grace);
            }
            let over = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return,
                _ = changes.changed() => {}
            }
        }
    }

    /// Every process of the pod.
    fn running(&self) -> Vec<Arc<dyn Process>> {
        let containers = self.handle.containers();
        containers
            .values()
            .filter_map(|handle| handle.process.clone())
            .collect()
    }

    /// Everybody hears of it, hooks and drain, SIGTERM, grace, SIGKILL.
    async fn end_within(&self, pod: &Pod, grace: Duration) {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let running = |proxies: bool| -> Vec<(Container, Arc<dyn Process>)> {
            let containers = spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten());
            let containers = containers.filter(|container| process::is_proxy(container) == proxies);
            containers
                .filter_map(|container| {
                    Some((
                        container.clone(),
                        self.handle.container(&container.name)?.process?,
                    ))
                })
                .collect()
        };
        let (apps, proxies) = (running(false), running(true));
        let mut deadline = Instant::now() + grace;
        let anything = !apps.is_empty() || !proxies.is_empty();
        if anything && !grace.is_zero() {
            let drain = self.host.drain.min(grace);
            // A proxy's hook is a sleep for the benefit of slow control planes; the drain replaces it.
            let hooks = apps.iter().filter_map(|(container, process)| {
                let Lifecycle { pre_stop, .. } = container.lifecycle.clone()?;
                Some((pre_stop?, container, process))
            });
            let hooks = futures::future::join_all(hooks.map(async |(hook, container, process)| {
                if let Err(reason) = self.hook(&hook, pod, container, process).await {
                    tracing::warn!(
                        pod = self.handle.name,
                        container = container.name,
                        reason,
                        "PreStop hook failed"
                    );
                }
            }));
            let both = async { tokio::join!(hooks, tokio::time::sleep(drain)) };
            let _ = tokio::time::timeout_at(deadline, both).await;
            // A hook that took all the time leaves its program a moment, as Kubernetes does.
            deadline = deadline.max(Instant::now() + AFTER_HOOK);
        }
        // Applications first: what they still have to say goes through their proxy.
        for group in [&apps, &proxies] {
            let ending = group
                .iter()
                .map(|(_, process)| self.finish_by(process, deadline));
            futures::future::join_all(ending).await;
        }
    }

    async fn finish(&self, process: &Arc<dyn Process>, grace: Duration) -> i32 {
        self.finish_by(process, Instant::now() + grace).await
    }

    async fn finish_by(&self, process: &Arc<dyn Process>, deadline: Instant) -> i32 {
        if deadline > Instant::now() {
            process.terminate();
            if let Ok(code) = tokio::time::timeout_at(deadline, process.wait()).await {
                return code;
            }
        }
        process.kill();
        tokio::time::timeout(KILLED, process.wait())
            .await
            .unwrap_or(137)
    }
}

fn grace(pod: &Pod) -> Duration {
    let own = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds);
    seconds(own, 30)
}

/// A year stands for all that is longer: points in time further away cannot be named.
const MAX_SECONDS: u64 = 366 * 24 * 3600;

fn seconds(value: Option<i64>, default: u64) -> Duration {
    let value = value.and_then(|value| u64::try_from(value).ok());
    Duration::from_secs(value.unwrap_or(default).min(MAX_SECONDS))
}
