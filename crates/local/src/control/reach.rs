//! Reaching into containers: their logs, and programs run beside them.

use std::io::Write;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use tokio::net::UnixListener;

use super::exec;
use super::query::{self, refusal};
use super::server::{Input, Shared};
use super::types::{LogQuery, Refusal};
use crate::cluster::workload::owner;
use crate::cluster::{Cluster, Kind};
use crate::machine::ExecSpec;
use crate::node::runtime::Runtime;
use crate::pod::log::Log;
use crate::pod::{ContainerHandle, process};

/// Bytes of a log sent at a time.
const CHUNK: usize = 64 << 10;

/// The pod and container that somebody means, and what can be reached of it.
fn container(
    runtime: &Runtime,
    cluster: Option<&str>,
    namespace: Option<&str>,
    pod: &str,
    container: Option<&str>,
) -> Result<ContainerHandle, Refusal> {
    let namespace = namespace.unwrap_or("default");
    let mut found = Vec::new();
    for cluster in query::clusters(&runtime.clusters, cluster)? {
        found.extend(named_pod(cluster, namespace, pod).map(|pod| (cluster, pod)));
    }
    let (cluster, pod) = match &found[..] {
        [one] => one,
        [] => {
            return Err(refusal(format!(
                "pod \"{pod}\" not found in namespace {namespace}"
            )));
        }
        [(first, _), (second, _), ..] => {
            return Err(refusal(format!(
                "{} and {} both have such a pod; say --cluster",
                first.name, second.name
            )));
        }
    };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let mut all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let chosen = match container {
        Some(name) => all.find(|container| container.name == name),
        None => spec
            .containers
            .iter()
            .find(|container| !process::is_proxy(container))
            .or(spec.containers.first()),
    };
    let Some(chosen) = chosen else {
        let names: Vec<_> = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .map(|container| container.name.as_str())
            .collect();
        return Err(refusal(format!(
            "pod {name} has no container \"{}\"; it has {}",
            container.unwrap_or_default(),
            names.join(", ")
        )));
    };
    let host = runtime
        .hosts
        .iter()
        .find(|host| host.cluster.name == cluster.name);
    let handle = host
        .and_then(|host| host.pod(namespace, &name))
        .and_then(|pod| pod.container(&chosen.name));
    handle.ok_or_else(|| {
        refusal(format!(
            "container {} of pod {name} has not started yet",
            chosen.name
        ))
    })
}

/// A pod by name, or one of `deployment/NAME`, a ready one if there is one.
fn named_pod(cluster: &Cluster, namespace: &str, name: &str) -> Option<Arc<Pod>> {
    cluster.objects.read(|objects| {
        let Some((kind, name)) = name.split_once('/') else {
            return objects.get::<Pod>(namespace, name);
        };
        match Kind::typed(kind)? {
            Kind::Pod => objects.get::<Pod>(namespace, name),
            Kind::Deployment => {
                let deployment = objects.get::<Deployment>(namespace, name)?;
                let sets = objects.list::<ReplicaSet>();
                let own = |pod: &Pod| {
                    let set = sets
                        .iter()
                        .find(|set| set.metadata.uid.as_deref() == owner(&pod.metadata));
                    set.is_some_and(|set| {
                        owner(&set.metadata) == deployment.metadata.uid.as_deref()
                    })
                };
                let mut pods: Vec<_> = objects
                    .list::<Pod>()
                    .into_iter()
                    .filter(|pod| own(pod))
                    .collect();
                pods.sort_by_key(|pod| !crate::cluster::endpoint::serves(pod));
                pods.into_iter().next()
            }
            _ => None,
        }
    })
}

pub(super) async fn logs(
    State(runtime): State<Shared>,
    Input(request): Input<LogQuery>,
) -> Result<Response, Refusal> {
    let handle = container(
        &runtime,
        request.cluster.as_deref(),
        request.namespace.as_deref(),
        &request.pod,
        request.container.as_deref(),
    )?;
    let log = if request.previous {
        handle.previous
    } else {
        handle.log
    };
    let log: Arc<Log> = log.ok_or_else(|| {
        refusal(if request.previous {
            "there was no run before this one"
        } else {
            "nothing was written yet"
        })
    })?;
    let failed = |error: std::io::Error| refusal(format!("the log cannot be read: {error}"));
    let begin = request
        .tail
        .map_or(Ok(0), |lines| log.tail(lines))
        .map_err(failed)?;
    let follow = request.follow && !request.previous;
    let stream = futures::stream::unfold((log, begin), move |(log, offset)| async move {
        loop {
            match log.read(offset, CHUNK) {
                Ok((bytes, next)) if !bytes.is_empty() => {
                    return Some((Ok(Bytes::from(bytes)), (log, next)));
                }
                Ok(_) if follow && log.grown(offset).await => {}
                Ok(_) => return None,
                Err(error) => return Some((Err(error), (log, u64::MAX))),
            }
        }
    });
    Ok(Body::from_stream(stream).into_response())
}

/// Serves the socket for `exec` until dropped.
pub(crate) async fn serve_exec(listener: UnixListener, runtime: Arc<Runtime>) {
    loop {
        let stream = match listener
            .accept()
            .await
            .and_then(|(stream, _)| stream.into_std())
        {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "exec socket cannot accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let runtime = runtime.clone();
        tokio::spawn(async move {
            match tokio::task::spawn_blocking(move || exec::accept(stream)).await {
                Ok(Ok(caller)) => attend(&runtime, caller).await,
                Ok(Err(error)) => tracing::debug!(%error, "exec request not understood"),
                Err(error) => tracing::debug!(%error, "exec request abandoned"),
            }
        });
    }
}

async fn attend(runtime: &Runtime, mut caller: exec::Caller) {
    let query = &caller.query;
    let handle = container(
        runtime,
        query.cluster.as_deref(),
        query.namespace.as_deref(),
        &query.pod,
        query.container.as_deref(),
    );
    let (process, handle) = match handle {
        Ok(mut handle) => match handle.process.take() {
            Some(process) => (process, handle),
            None => return caller.refuse(refusal("the container is not running")).await,
        },
        Err(refused) => return caller.refuse(refused).await,
    };
    let spec = |stdio, terminal| ExecSpec {
        stdio,
        terminal,
        ..handle.program(query.command.clone())
    };
    let stdio = std::mem::take(&mut caller.stdio);
    let copies = || stdio.each_ref().map(|fd| fd.as_ref()?.try_clone().ok());
    // A terminal that controls the caller's own session cannot control another one. It can still be read
    // and written, and the caller passes signals on, so only job control is missing then.
    let controlled = match query.terminal {
        true => process.exec(spec(copies(), true)).await.ok(),
        false => None,
    };
    let started = match controlled {
        Some(program) => Ok(program),
        None => process.exec(spec(copies(), false)).await,
    };
    match started {
        Ok(program) => {
            // Whoever reads what the program writes waits for the last copy to be closed.
            drop(stdio);
            caller.attend(program).await;
        }
        Err(error) => {
            if let [_, _, Some(stderr)] = stdio {
                let text = format!("error: {error}\n");
                let _ = std::fs::File::from(stderr).write_all(text.as_bytes());
            }
            caller.exited(error.code).await;
        }
    }
}
