//! Logs of containers, and programs run beside them.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use tokio::net::UnixListener;
use tombolo_kube::{ObjectExt, PodExt, PodSpecExt};
use tombolo_linux::container::ExecSpec;

use super::exec_fd_passing::{self, Caller};
use super::selection;
use super::server::{Input, Shared};
use super::types::{ErrorResponse, LogQuery};
use crate::accept_loop;
use crate::cluster::sidecar_injector::is_proxy;
use crate::cluster::{Cluster, Kind, deployment};
use crate::daemon::Daemon;
use crate::kubelet::ContainerHandle;

/// Maximum bytes of a log that are sent at once.
const CHUNK: usize = 64 << 10;

/// Maximum concurrent callers of `exec`; further ones wait.
const MAX_CALLERS: usize = 1024;

/// The exit codes of shells for programs that cannot be started.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// The handle of a container of the one pod with this name.
fn container(
    daemon: &Daemon,
    cluster: Option<&str>,
    namespace: Option<&str>,
    pod: &str,
    container: Option<&str>,
) -> Result<ContainerHandle, ErrorResponse> {
    let namespace = namespace.unwrap_or("default");
    let mut found = Vec::new();
    for cluster in selection::clusters(&daemon.clusters, cluster)? {
        found.extend(named_pod(cluster, namespace, pod).map(|pod| (cluster, pod)));
    }
    let (cluster, pod) = match &found[..] {
        [one] => one,
        [] => {
            let message = format!("pod \"{pod}\" not found in namespace {namespace}");
            return Err(ErrorResponse::new(message));
        }
        [(first, _), (second, _), ..] => {
            return Err(ErrorResponse::new(format!(
                "{} and {} both have such a pod; say --cluster",
                first.name, second.name
            )));
        }
    };
    let spec = pod.spec.clone().unwrap_or_default();
    let all: Vec<_> = spec
        .all_containers()
        .map(|(.., container)| container)
        .collect();
    let mut main = spec.containers.iter();
    let chosen = match container {
        Some(name) => all.into_iter().find(|container| container.name == name),
        None => main
            .find(|container| !is_proxy(pod, container))
            .or(spec.containers.first()),
    };
    let Some(chosen) = chosen else {
        let names = spec
            .all_containers()
            .map(|(.., container)| container.name.as_str());
        let names: Vec<_> = names.collect();
        return Err(ErrorResponse::new(format!(
            "pod {} has no container \"{}\"; it has {}",
            pod.name(),
            container.unwrap_or_default(),
            names.join(", ")
        )));
    };
    let mut kubelets = daemon.kubelets.iter();
    let handle = kubelets
        .find(|kubelet| kubelet.cluster.name == cluster.name)
        .and_then(|kubelet| kubelet.pod(namespace, pod.name())?.container(&chosen.name));
    handle.ok_or_else(|| {
        let (container, pod) = (&chosen.name, pod.name());
        ErrorResponse::new(format!(
            "container {container} of pod {pod} has not started yet"
        ))
    })
}

/// A pod by name, or a pod of `deployment/NAME`, a serving one if there is one.
fn named_pod(cluster: &Cluster, namespace: &str, name: &str) -> Option<Arc<Pod>> {
    let (kind, name) = match name.split_once('/') {
        Some((kind, name)) => (Kind::from_argument(kind)?, name),
        None => (Kind::Pod, name),
    };
    cluster.objects.read(|objects| match kind {
        Kind::Pod => objects.get::<Pod>(namespace, name),
        Kind::Deployment => {
            let deployment = objects.get::<Deployment>(namespace, name)?;
            let pods = deployment::pods(objects, &deployment).into_iter();
            pods.min_by_key(|pod| !pod.is_serving())
        }
        _ => None,
    })
}

pub(super) async fn logs(
    State(daemon): State<Shared>,
    Input(query): Input<LogQuery>,
) -> Result<Response, ErrorResponse> {
    let handle = container(
        &daemon,
        query.cluster.as_deref(),
        query.namespace.as_deref(),
        &query.pod,
        query.container.as_deref(),
    )?;
    let (log, missing) = match query.previous {
        true => (handle.previous, "there was no run before this one"),
        false => (handle.log, "nothing was written yet"),
    };
    let log = log.ok_or_else(|| ErrorResponse::new(missing))?;
    let begin = query.tail.map_or(Ok(0), |lines| log.tail(lines));
    let begin =
        begin.map_err(|error| ErrorResponse::new(format!("the log cannot be read: {error}")))?;
    let follow = query.follow && !query.previous;
    let stream = futures::stream::unfold((log, begin), move |(log, offset)| async move {
        loop {
            match log.read(offset, CHUNK) {
                Ok((bytes, next)) if !bytes.is_empty() => {
                    return Some((Ok(Bytes::from(bytes)), (log, next)));
                }
                Ok(_) if follow && log.wait_for_output(offset).await => {}
                Ok(_) => return None,
                Err(error) => return Some((Err(error), (log, u64::MAX))),
            }
        }
    });
    Ok(Body::from_stream(stream).into_response())
}

/// Serves the socket for `exec` until dropped.
pub(crate) async fn serve_exec(listener: UnixListener, daemon: Arc<Daemon>) {
    accept_loop::run("exec", listener, MAX_CALLERS, |stream| {
        let daemon = daemon.clone();
        async move {
            match tokio::task::spawn_blocking(move || exec_fd_passing::read(stream.into_std()?))
                .await
            {
                Ok(Ok(caller)) => exec(&daemon, caller).await,
                Ok(Err(error)) => tracing::debug!(%error, "exec request not understood"),
                Err(error) => tracing::debug!(%error, "exec request abandoned"),
            }
        }
    })
    .await;
}

async fn exec(daemon: &Daemon, mut caller: Caller) {
    let query = &caller.query;
    let handle = container(
        daemon,
        query.cluster.as_deref(),
        query.namespace.as_deref(),
        &query.pod,
        query.container.as_deref(),
    );
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) => return caller.refuse(error).await,
    };
    let Some(process) = &handle.process else {
        let error = ErrorResponse::new("the container is not running");
        return caller.refuse(error).await;
    };
    let stdio = std::mem::take(&mut caller.stdio);
    let start = |terminal| {
        let [stdin, stdout, stderr] = stdio.each_ref().map(|fd| fd.as_ref()?.try_clone().ok());
        process.exec(ExecSpec {
            stdin,
            stdout,
            stderr,
            terminal,
            ..handle.exec_spec(query.command.clone())
        })
    };
    // A terminal that controls the caller's own session cannot control another one. It can still be read and written,
    // and the caller forwards signals, so only job control is missing then.
    let mut started = start(query.terminal).await;
    if query.terminal && started.is_err() {
        started = start(false).await;
    }
    match started {
        Ok(session) => {
            // A reader of the program's output waits until the last copy of the descriptor is closed.
            drop(stdio);
            caller.attach(session).await;
        }
        Err(error) => {
            let code = match error.kind() {
                io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            };
            if let [_, _, Some(stderr)] = stdio {
                let text = format!("error: {error}\n");
                let _ = std::fs::File::from(stderr).write_all(text.as_bytes());
            }
            caller.exited(code).await;
        }
    }
}
