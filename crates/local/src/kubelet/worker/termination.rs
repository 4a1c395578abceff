//! Termination of a pod: preStop hooks and drain, SIGTERM, grace period, SIGKILL.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::time::Instant;
use tombolo_kube::PodSpecExt;

use super::{Worker, object};
use crate::cluster::sidecar_injector::is_proxy;
use crate::container_runtime::Process;

/// Deadline for a killed process to end; after it the process is left to the sandbox.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// The minimum time between SIGTERM and SIGKILL after a hook has run.
const AFTER_HOOK: Duration = Duration::from_secs(2);

/// Maximum of configured periods: a year. Later points in time cannot be represented.
const MAX_SECONDS: u64 = 366 * 24 * 3600;

/// `terminationGracePeriodSeconds` of a pod; 30 s where absent.
pub(super) fn grace_period(pod: &Pod) -> Duration {
    let spec = pod.spec.as_ref();
    seconds(
        spec.and_then(|spec| spec.termination_grace_period_seconds),
        30,
    )
}

fn seconds(value: Option<i64>, default: u64) -> Duration {
    let value = value.and_then(|value| u64::try_from(value).ok());
    Duration::from_secs(value.unwrap_or(default).min(MAX_SECONDS))
}

impl Worker {
    /// Ends the pod within its grace period, which can be shortened meanwhile.
    pub(super) async fn terminate(&self) {
        self.stopping.send_replace(true);
        let grace = self.deletion_grace();
        tokio::select! {
            () = self.terminate_within(grace) => {}
            () = self.shortened(grace) => {}
        }
        let containers = self.handle.containers.lock().clone();
        for process in containers
            .values()
            .filter_map(|handle| handle.process.as_ref())
        {
            self.stop_process(process, Instant::now()).await;
        }
    }

    /// The grace period of the pod's deletion; zero when its object no longer exists.
    fn deletion_grace(&self) -> Duration {
        let object = object(&self.kubelet, &self.pod);
        seconds(
            object.and_then(|object| object.meta.deletion_grace_period_seconds),
            0,
        )
    }

    /// Resolves when the grace period has become shorter than `grace`, and is over.
    async fn shortened(&self, mut grace: Duration) {
        let begun = Instant::now();
        let mut changes = self.kubelet.cluster.objects.watch();
        let mut deadline = None;
        loop {
            let now = self.deletion_grace();
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

    async fn terminate_within(&self, grace: Duration) {
        let (proxies, apps): (Vec<_>, Vec<_>) = self
            .running()
            .into_iter()
            .partition(|(container, _)| is_proxy(&self.pod, container));
        let mut deadline = Instant::now() + grace;
        if !(apps.is_empty() && proxies.is_empty() || grace.is_zero()) {
            let drain = tokio::time::sleep(self.kubelet.drain.min(grace));
            // A proxy's preStop hook is a sleep for slow control planes; the drain replaces it.
            let hooks = apps
                .iter()
                .map(|(container, process)| self.pre_stop(container, process));
            let both = async { tokio::join!(join_all(hooks), drain) };
            let _ = tokio::time::timeout_at(deadline, both).await;
            // After a hook that used up the grace period, the program still gets a minimum time, as in Kubernetes.
            deadline = deadline.max(Instant::now() + AFTER_HOOK);
        }
        // Applications end first: their last requests pass through their proxy.
        for group in [apps, proxies] {
            join_all(
                group
                    .iter()
                    .map(|(_, process)| self.stop_process(process, deadline)),
            )
            .await;
        }
    }

    /// Running containers with their processes.
    fn running(&self) -> Vec<(Container, Arc<dyn Process>)> {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let running = spec.all_containers().filter_map(|(_, _, container)| {
            let process = self.handle.container(&container.name)?.process?;
            Some((container.clone(), process))
        });
        running.collect()
    }

    async fn pre_stop(&self, container: &Container, process: &Arc<dyn Process>) {
        let hook = container.lifecycle.as_ref();
        let Some(hook) = hook.and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else {
            return;
        };
        // The stored object has the pod's address.
        let pod = object(&self.kubelet, &self.pod).and_then(|object| object.read::<Pod>());
        let pod = pod.unwrap_or_else(|| self.pod.clone());
        if let Err(error) = self.run_hook(hook, &pod, container, process).await {
            tracing::warn!(
                pod = self.handle.name,
                container = container.name,
                %error,
                "PreStop hook failed"
            );
        }
    }

    /// Sends SIGTERM, and SIGKILL at the deadline; the exit code.
    pub(super) async fn stop_process(&self, process: &Arc<dyn Process>, deadline: Instant) -> i32 {
        if deadline > Instant::now() {
            process.terminate();
            if let Ok(code) = tokio::time::timeout_at(deadline, process.wait()).await {
                return code;
            }
        }
        process.kill();
        let ended = tokio::time::timeout(KILL_TIMEOUT, process.wait()).await;
        ended.unwrap_or(137)
    }
}
