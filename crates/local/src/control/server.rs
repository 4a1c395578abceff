//! The runtime's side of the control socket.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Json, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use tokio::net::UnixListener;
use tombolo_kube::manifest::{self, Problem, Strictness};

use super::exec;
use super::query::{self, Selector, refusal};
use super::types::*;
use crate::clock;
use crate::cluster::workload::owner;
use crate::cluster::{Cluster, Key, Kind, apply, collect};
use crate::machine::ExecSpec;
use crate::node::runtime::Runtime;
use crate::pod::log::Log;
use crate::pod::{ContainerHandle, process};

/// Bytes of a request.
const LARGEST: usize = 32 << 20;

/// Bytes of a log sent at a time.
const CHUNK: usize = 64 << 10;

type Shared = Arc<Runtime>;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(self)).into_response()
    }
}

/// A JSON body whose faults are answered as every other refusal.
struct Input<T>(T);

impl<T: serde::de::DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Refusal> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refusal(rejection.body_text())),
        }
    }
}

/// Serves the control socket until dropped.
pub(crate) async fn serve(listener: UnixListener, runtime: Arc<Runtime>) -> std::io::Result<()> {
    let router = Router::new()
        .route(
            "/v1/info",
            get(|State(runtime): State<Shared>| async move { Json(runtime.info().await) }),
        )
        .route(
            "/v1/status",
            get(|State(runtime): State<Shared>| async move { Json(runtime.status().await) }),
        )
        .route("/v1/objects", post(objects))
        .route("/v1/apply", post(apply_manifests))
        .route("/v1/delete", post(delete))
        .route("/v1/scale", post(scale))
        .route("/v1/logs", post(logs))
        .route(
            "/v1/rules",
            get(|State(runtime): State<Shared>| async move { Json(runtime.network.list()) }),
        )
        .route("/v1/rules/allow", post(allow))
        .route("/v1/rules/deny", post(deny))
        .route("/v1/stop", post(stop))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(runtime);
    axum::serve(listener, router).await
}

async fn objects(
    State(runtime): State<Shared>,
    Input(query): Input<Query>,
) -> Result<Json<Vec<ClusterObjects>>, Refusal> {
    let kinds = query::kinds(&query.kind)?;
    let selector = query.selector.as_deref().map(Selector::read).transpose()?;
    let mut found = Vec::new();
    for cluster in query::clusters(&runtime.clusters, query.cluster.as_deref())? {
        let items = query::select(
            cluster,
            &kinds,
            query.namespace.as_deref(),
            query.name.as_deref(),
            selector.as_ref(),
        );
        let items = items.iter().map(|object| object.body.clone()).collect();
        found.push(ClusterObjects {
            cluster: cluster.name.clone(),
            items,
        });
    }
    if let Some(name) = &query.name
        && found.iter().all(|cluster| cluster.items.is_empty())
    {
        return Err(refusal(format!("{} \"{name}\" not found", query.kind)));
    }
    Ok(Json(found))
}

async fn apply_manifests(
    State(runtime): State<Shared>,
    Input(request): Input<Apply>,
) -> Result<Json<ApplyReply>, Refusal> {
    let cluster = query::cluster(&runtime.clusters, request.cluster.as_deref())?;
    let strictness = match request.validate.as_deref() {
        None | Some("strict" | "true") => Strictness::Strict,
        Some("warn") => Strictness::Warn,
        Some("ignore" | "false") => Strictness::Ignore,
        Some(other) => {
            return Err(refusal(format!(
                "--validate={other}: use strict, warn or ignore"
            )));
        }
    };
    let read = read(&request.sources, strictness, request.namespace.as_deref())?;
    let warnings = read.warnings.iter().map(ToString::to_string).collect();
    let applied = runtime
        .apply(cluster, read, request.dry_run)
        .map_err(problems)?;
    Ok(Json(ApplyReply { applied, warnings }))
}

fn read(
    sources: &[Source],
    strictness: Strictness,
    namespace: Option<&str>,
) -> Result<manifest::Manifests, Refusal> {
    let options = manifest::Options {
        strictness,
        namespace: namespace.unwrap_or("default").to_owned(),
        ..manifest::Options::default()
    };
    let sources: Vec<_> = sources
        .iter()
        .map(|source| manifest::Source::new(&source.name, &source.text))
        .collect();
    manifest::read(&sources, &options).map_err(|refused| problems(refused.0))
}

fn problems(problems: Vec<Problem>) -> Refusal {
    let message = format!(
        "nothing was applied: {} in the manifests",
        count(problems.len(), "problem")
    );
    Refusal {
        message,
        problems: problems.iter().map(ToString::to_string).collect(),
    }
}

fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

async fn delete(
    State(runtime): State<Shared>,
    Input(request): Input<Delete>,
) -> Result<Json<Vec<String>>, Refusal> {
    let cluster = query::cluster(&runtime.clusters, request.cluster.as_deref())?;
    let namespace = request.namespace.as_deref().unwrap_or("default");
    let keys: Vec<Key> = if request.sources.is_empty() {
        if request.name.is_none() && request.selector.is_none() {
            return Err(refusal("say which: a name, or a selector with -l"));
        }
        let selector = request
            .selector
            .as_deref()
            .map(Selector::read)
            .transpose()?;
        let kinds = query::kinds(&request.kind)?;
        let found = query::select(
            cluster,
            &kinds,
            Some(namespace),
            request.name.as_deref(),
            selector.as_ref(),
        );
        found.iter().map(|object| object.key.clone()).collect()
    } else {
        let read = read(
            &request.sources,
            Strictness::Ignore,
            request.namespace.as_deref(),
        )?;
        let mut keys: Vec<Key> = read
            .objects
            .iter()
            .filter_map(|located| {
                let object = &located.object;
                Some(Key::new(
                    crate::cluster::view::kind(object)?,
                    object.namespace().unwrap_or_default(),
                    object.name(),
                ))
            })
            .filter(|key| {
                cluster
                    .objects
                    .read(|objects| objects.object(key).is_some())
            })
            .collect();
        // Users before what they use.
        keys.sort_by_key(|key| std::cmp::Reverse(key.kind));
        keys
    };
    if keys.is_empty() {
        let what = request
            .name
            .map(|name| format!("\"{name}\" "))
            .unwrap_or_default();
        return Err(refusal(format!(
            "{} {what}not found in namespace {namespace} of {}",
            request.kind, cluster.name
        )));
    }
    cluster.objects.write(|objects| {
        for key in &keys {
            collect::delete(objects, key, request.grace_seconds, clock::now());
        }
    });
    Ok(Json(keys.iter().map(ToString::to_string).collect()))
}

async fn scale(
    State(runtime): State<Shared>,
    Input(request): Input<Scale>,
) -> Result<Json<()>, Refusal> {
    let cluster = query::cluster(&runtime.clusters, request.cluster.as_deref())?;
    let namespace = request.namespace.as_deref().unwrap_or("default");
    let name = request.name.rsplit('/').next().unwrap_or_default();
    let replicas =
        i32::try_from(request.replicas).map_err(|_| refusal("that many pods do not fit"))?;
    let found = cluster.objects.write(|objects| {
        objects.edit::<Deployment>(namespace, name, |deployment| {
            deployment.spec.get_or_insert_default().replicas = Some(replicas);
        });
        objects.get::<Deployment>(namespace, name).is_some()
    });
    if found {
        Ok(Json(()))
    } else {
        Err(refusal(format!(
            "deployment \"{name}\" not found in namespace {namespace} of {}",
            cluster.name
        )))
    }
}

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

async fn logs(
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

async fn allow(
    State(runtime): State<Shared>,
    Input(opening): Input<Opening>,
) -> Result<Json<()>, Refusal> {
    runtime.network.allow(&opening).map(Json).map_err(refusal)
}

async fn deny(
    State(runtime): State<Shared>,
    Input(opening): Input<Opening>,
) -> Result<Json<()>, Refusal> {
    runtime.network.deny(&opening).map(Json).map_err(refusal)
}

async fn stop(State(runtime): State<Shared>) -> Json<()> {
    runtime.stop.notify_one();
    Json(())
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
    let started = match handle {
        Ok(ContainerHandle {
            process: Some(process),
            env,
            workdir,
            user,
            ..
        }) => {
            let spec = ExecSpec {
                argv: query.command.clone(),
                env,
                workdir,
                user,
                stdio: std::mem::take(&mut caller.stdio),
                terminal: query.terminal,
            };
            process
                .exec(spec)
                .await
                .map_err(|error| refusal(error.to_string()))
        }
        Ok(_) => Err(refusal("the container is not running")),
        Err(refused) => Err(refused),
    };
    match started {
        Ok(program) => caller.attend(program).await,
        Err(refused) => caller.refuse(refused).await,
    }
}

/// Applies manifests to a cluster: all of them or none.
impl Runtime {
    pub(crate) fn apply(
        &self,
        cluster: &Cluster,
        read: manifest::Manifests,
        dry_run: bool,
    ) -> Result<Vec<Applied>, Vec<Problem>> {
        cluster.objects.write(|objects| {
            let mut trial = objects.clone();
            let applied = apply::apply(
                &mut trial,
                read,
                clock::now(),
                &cluster.entropy,
                &cluster.inject,
            )?;
            if !dry_run {
                *objects = trial;
            }
            Ok(applied)
        })
    }
}
