//! One run of a container: process, output, probes and hooks.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe};
use rustix::fs::{Gid, Uid, fchown};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;
use tombolo_kube::ObjectExt;
use tombolo_linux::container::User;

use super::Worker;
use super::termination::{KILL_TIMEOUT, grace_period};
use crate::cluster::now;
use crate::container_runtime::Process;
use crate::kubelet::ContainerHandle;
use crate::kubelet::container_log::Log;
use crate::kubelet::container_spec::{self, StartError};
use crate::kubelet::probe::{Outcome, ProbeError, ProbeType, Prober};
use crate::kubelet::status::{ContainerIndex, Phase, Termination};

/// The exit code of a container whose program could not be started, as in container runtimes.
const NOT_STARTED: i32 = 128;

impl Worker {
    /// One run of a container, from its command to its exit code.
    pub(super) async fn run_once(
        &self,
        index: ContainerIndex,
        container: &Container,
    ) -> Result<Termination, StartError> {
        let output_error = |what| move |cause| StartError::Output { what, cause };
        let (pod, spec) = self.kubelet.cluster.objects.read(|objects| {
            let pod = objects.get::<Pod>(self.pod.namespace(), self.pod.name());
            let pod = pod.unwrap_or_else(|| self.pod.clone());
            let config = &self.kubelet.config;
            let spec = container_spec::resolve(config, objects, &pod, container, &self.dir);
            (pod, spec)
        });
        let mut spec = spec?;
        let (reader, writer) = output(spec.user).map_err(output_error("make a pipe"))?;
        let (log, previous) = self
            .next_log(&container.name)
            .map_err(output_error("write the log"))?;
        spec.stderr = writer.try_clone().ok();
        spec.stdout = Some(writer);
        let mut handle = ContainerHandle {
            process: None,
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user,
            log: Some(log.clone()),
            previous,
        };
        let started = now();
        let end = |code, message| Termination {
            code,
            started,
            finished: now(),
            message,
        };
        let process = self.sandbox.start(spec).await;
        handle.process = process.as_ref().ok().cloned();
        self.handle
            .containers
            .lock()
            .insert(container.name.clone(), handle);
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                let _ = log.append(format!("{error}\n").as_bytes());
                log.finish();
                return Ok(end(NOT_STARTED, Some(error.to_string())));
            }
        };
        let recording = tokio::spawn(log.clone().record(reader));
        self.update(|record| {
            let record = record.container(index);
            record.phase = Phase::Running { since: started };
            record.started = container.startup_probe.is_none();
            // Without a probe, a running container is ready. A plain init container is never ready while it runs.
            record.ready = record.started
                && container.readiness_probe.is_none()
                && (matches!(index, ContainerIndex::Main(_)) || record.sidecar);
        });
        if self.stopping() {
            process.kill();
        }
        let (code, message) = tokio::select! {
            code = process.wait() => (code, None),
            failure = self.watch_health(index, &pod, container, &process) => {
                self.update(|record| record.container(index).ready = false);
                let deadline = Instant::now() + grace_period(&pod);
                (self.stop_process(&process, deadline).await, Some(failure))
            }
        };
        if let Some(handle) = self.handle.containers.lock().get_mut(&container.name) {
            handle.process = None;
        }
        // The log is complete when the last descendant has closed it; followers do not wait for that.
        tokio::spawn(async move {
            let _ = tokio::time::timeout(KILL_TIMEOUT, recording).await;
            log.finish();
        });
        Ok(end(code, message))
    }

    /// A new log, and that of the previous run, which is kept beside it.
    fn next_log(&self, container: &str) -> io::Result<(Arc<Log>, Option<Arc<Log>>)> {
        let dir = self.dir.join("log");
        let handle = self.handle.container(container).unwrap_or_default();
        let previous = match handle.log {
            Some(log) => {
                log.rename(&dir.join(format!("{container}.previous.log")))?;
                Some(log)
            }
            None => handle.previous,
        };
        let log = Log::create(&dir.join(format!("{container}.log")))?;
        Ok((Arc::new(log), previous))
    }

    /// Runs the postStart hook and the probes; resolves with the reason for a restart.
    async fn watch_health(
        &self,
        index: ContainerIndex,
        pod: &Pod,
        container: &Container,
        process: &Arc<dyn Process>,
    ) -> String {
        let hook = container.lifecycle.as_ref();
        if let Some(hook) = hook.and_then(|lifecycle| lifecycle.post_start.as_ref())
            && let Err(error) = self.run_hook(hook, pod, container, process).await
        {
            return format!("PostStartHook failed: {error}");
        }
        let handle = self.handle.container(&container.name).unwrap_or_default();
        let prober = |probe| Prober::new(probe, pod, container, &handle);
        let (sandbox, process) = (&*self.sandbox, &**process);
        if let Some(probe) = &container.startup_probe {
            let watch = prober(probe)
                .watch(sandbox, process, |_, _| {}, ProbeType::Startup)
                .await;
            if let Outcome::Failed(error) = watch {
                return format!("startup probe failed: {error}");
            }
            self.update(|record| {
                let record = record.container(index);
                record.started = true;
                record.ready = container.readiness_probe.is_none();
            });
        }
        let readiness = async {
            if let Some(probe) = &container.readiness_probe {
                let report = |ready, error: Option<&ProbeError>| {
                    if let Some(error) = error {
                        let (pod, container) = (&self.handle.name, &container.name);
                        tracing::debug!(pod, container, %error, "not ready");
                    }
                    self.update(|record| record.container(index).ready = ready);
                };
                prober(probe)
                    .watch(sandbox, process, report, ProbeType::Readiness)
                    .await;
            }
            std::future::pending().await
        };
        let liveness = async {
            if let Some(probe) = &container.liveness_probe
                && let Outcome::Failed(error) = prober(probe)
                    .watch(sandbox, process, |_, _| {}, ProbeType::Liveness)
                    .await
            {
                return format!("liveness probe failed: {error}");
            }
            std::future::pending().await
        };
        tokio::select! {
            never = readiness => never,
            failure = liveness => failure,
        }
    }

    /// Runs a lifecycle hook to its end.
    pub(super) async fn run_hook(
        &self,
        hook: &LifecycleHandler,
        pod: &Pod,
        container: &Container,
        process: &Arc<dyn Process>,
    ) -> Result<(), ProbeError> {
        if let Some(sleep) = &hook.sleep {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            return Ok(());
        }
        if hook.exec.is_none() && hook.http_get.is_none() {
            // Kubernetes accepts the other kind of hook, tcpSocket, and never runs it.
            return Ok(());
        }
        let probe = Probe {
            exec: hook.exec.clone(),
            http_get: hook.http_get.clone(),
            ..Probe::default()
        };
        let handle = self.handle.container(&container.name).unwrap_or_default();
        let prober = Prober::new(&probe, pod, container, &handle);
        prober.run(&*self.sandbox, &**process).await
    }
}

/// A pipe for a container's output. The container's user owns it, so that programs can open `/dev/stdout` again.
fn output(user: Option<User>) -> io::Result<(Receiver, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if let Some(User { uid, gid }) = user {
        fchown(&writer, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok((Receiver::from_owned_fd(reader)?, writer))
}
