//! One run of a container: its process, its output, its probes and hooks.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe};

use super::{KILLED, NOT_STARTED, Worker, grace};
use crate::clock;
use crate::machine::Process;
use crate::pod::log::Log;
use crate::pod::probe::{Check, Outcome, Until};
use crate::pod::state::{End, Phase, Slot};
use crate::pod::{ContainerHandle, process};

impl Worker {
    /// One run of a container, from its command to its exit code.
    pub(super) async fn run_once(
        &self,
        slot: Slot,
        container: &Container,
    ) -> Result<End, process::Unstartable> {
        let setup = |message: String| process::Unstartable {
            reason: "CreateContainerError",
            message,
        };
        let meta = &self.pod.metadata;
        let (namespace, name) = (
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        );
        let (pod, spec) = self.host.cluster.objects.read(|objects| {
            let pod = objects
                .get::<Pod>(namespace, name)
                .unwrap_or_else(|| self.pod.clone());
            let spec = process::spec(&self.host.common, objects, &pod, container, &self.dir);
            (pod, spec)
        });
        let mut spec = spec?;
        let (reader, writer) =
            output(spec.user).map_err(|error| setup(format!("cannot make a pipe: {error}")))?;
        let log = self
            .next_log(&container.name)
            .map_err(|error| setup(format!("cannot write the log: {error}")))?;
        spec.stderr = writer.try_clone().ok();
        spec.stdout = Some(writer);
        let mut handle = ContainerHandle {
            process: None,
            env: spec.env.clone(),
            workdir: spec.workdir.clone(),
            user: spec.user,
            log: Some(log.clone()),
            previous: self
                .handle
                .container(&container.name)
                .and_then(|handle| handle.previous),
        };
        let started = clock::now();
        let process = match self.place.start(spec).await {
            Ok(process) => process,
            Err(error) => {
                let _ = log.append(format!("{error}\n").as_bytes());
                log.finish();
                self.handle
                    .containers()
                    .insert(container.name.clone(), handle);
                return Ok(End {
                    code: NOT_STARTED,
                    started,
                    finished: clock::now(),
                    message: Some(error.to_string()),
                });
            }
        };
        handle.process = Some(process.clone());
        self.handle
            .containers()
            .insert(container.name.clone(), handle);
        let recording = tokio::spawn(log.clone().record(reader));
        self.update(|record| {
            let record = record.container(slot);
            record.phase = Phase::Running { since: started };
            record.process = Some(process.id());
            record.started = container.startup_probe.is_none();
            // Without a probe, running is ready. A plain init container is never ready: it ends.
            record.ready = record.started
                && container.readiness_probe.is_none()
                && (matches!(slot, Slot::Main(_)) || record.sidecar);
        });
        if self.stopping() {
            process.kill();
        }
        let (code, message) = tokio::select! {
            code = process.wait() => (code, None),
            reason = self.health(slot, &pod, container, &process) => {
                self.update(|record| record.container(slot).ready = false);
                (self.finish(&process, grace(&pod)).await, Some(reason))
            }
        };
        if let Some(handle) = self.handle.containers().get_mut(&container.name) {
            handle.process = None;
        }
        // The log is complete when the last descendant has closed it; followers do not wait for that.
        tokio::spawn(async move {
            let _ = tokio::time::timeout(KILLED, recording).await;
            log.finish();
        });
        Ok(End {
            code,
            started,
            finished: clock::now(),
            message,
        })
    }

    /// A fresh log; that of the run before is kept beside it.
    fn next_log(&self, container: &str) -> std::io::Result<Arc<Log>> {
        let current = self.dir.join("log").join(format!("{container}.log"));
        if let Some(mut handle) = self.handle.container(container)
            && let Some(log) = handle.log.take()
        {
            let aside = format!("{container}.previous.log");
            log.set_aside(&self.dir.join("log").join(aside))?;
            handle.previous = Some(log);
            self.handle
                .containers()
                .insert(container.to_owned(), handle);
        }
        Log::create(&current).map(Arc::new)
    }

    /// Watches a running container; resolves with a reason when it has to be started again.
    async fn health(
        &self,
        slot: Slot,
        pod: &Pod,
        container: &Container,
        process: &Arc<dyn Process>,
    ) -> String {
        if let Some(hook) = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.post_start.as_ref())
            && let Err(reason) = self.hook(hook, pod, container, process).await
        {
            return format!("PostStartHook failed: {reason}");
        }
        let handle = self.handle.container(&container.name).unwrap_or_default();
        let check = |probe| Check::read(probe, pod, container, &handle);
        if let Some(probe) = &container.startup_probe {
            if let Outcome::Failed(reason) = check(probe)
                .watch(&*self.place, &**process, |_, _| {}, Until::Passed)
                .await
            {
                return format!("startup probe failed: {reason}");
            }
            self.update(|record| {
                let record = record.container(slot);
                record.started = true;
                record.ready = container.readiness_probe.is_none();
            });
        }
        let readiness = async {
            if let Some(probe) = &container.readiness_probe {
                let verdict = |ready, reason: Option<String>| {
                    if let Some(reason) = reason {
                        tracing::debug!(
                            pod = self.handle.name,
                            container = container.name,
                            reason,
                            "not ready"
                        );
                    }
                    self.update(|record| record.container(slot).ready = ready);
                };
                check(probe)
                    .watch(&*self.place, &**process, verdict, Until::Forever)
                    .await;
            }
            std::future::pending::<()>().await;
        };
        let liveness = async {
            match &container.liveness_probe {
                Some(probe) => {
                    check(probe)
                        .watch(&*self.place, &**process, |_, _| {}, Until::Failed)
                        .await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = readiness => String::new(),
            outcome = liveness => match outcome {
                Outcome::Failed(reason) => format!("liveness probe failed: {reason}"),
                Outcome::Passed => String::new(),
            },
        }
    }

    /// Runs a hook to its end.
    pub(super) async fn hook(
        &self,
        hook: &LifecycleHandler,
        pod: &Pod,
        container: &Container,
        process: &Arc<dyn Process>,
    ) -> Result<(), String> {
        if let Some(sleep) = &hook.sleep {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            return Ok(());
        }
        if hook.exec.is_none() && hook.http_get.is_none() {
            // What is left, tcpSocket, is accepted by Kubernetes and never run.
            return Ok(());
        }
        let act = Probe {
            exec: hook.exec.clone(),
            http_get: hook.http_get.clone(),
            ..Probe::default()
        };
        let handle = self.handle.container(&container.name).unwrap_or_default();
        Check::read(&act, pod, container, &handle)
            .act(&*self.place, &**process)
            .await
    }
}

/// A pipe for a container's output. It belongs to the container's user, so that programs may open
/// `/dev/stdout` again.
fn output(
    user: Option<(u32, u32)>,
) -> std::io::Result<(tokio::net::unix::pipe::Receiver, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    if let Some((uid, gid)) = user {
        rustix::fs::fchown(
            &writer,
            Some(rustix::fs::Uid::from_raw(uid)),
            Some(rustix::fs::Gid::from_raw(gid)),
        )?;
    }
    Ok((
        tokio::net::unix::pipe::Receiver::from_owned_fd(reader)?,
        writer,
    ))
}
