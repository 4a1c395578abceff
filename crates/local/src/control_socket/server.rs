//! The server of the control socket.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Json, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use k8s_openapi::api::apps::v1::Deployment;
use tokio::net::UnixListener;
use tombolo_kube::manifest::{self, Manifests, Problem, Strictness};

use super::selection::{self, Selector};
use super::types::*;
use crate::cluster::{Cluster, Key, apply, deletion, limits, now};
use crate::daemon::Daemon;
use crate::network::security_group::NetworkPolicy;

/// Maximum bytes of a request.
const MAX_REQUEST: usize = 32 << 20;

pub(super) type Shared = Arc<Daemon>;

type Answer<T> = Result<Json<T>, ErrorResponse>;

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(self)).into_response()
    }
}

/// A JSON body whose errors are answered as [`ErrorResponse`].
pub(super) struct Input<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ErrorResponse> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(ErrorResponse::new(rejection.body_text())),
        }
    }
}

/// Serves the control socket until dropped.
pub(crate) async fn serve(listener: UnixListener, daemon: Arc<Daemon>) -> std::io::Result<()> {
    let info = async |State(daemon): State<Shared>| Json(daemon.info().await);
    let status = async |State(daemon): State<Shared>| Json(daemon.status().await);
    let rules = async |State(daemon): State<Shared>| Json(daemon.network.list());
    let router = Router::new()
        .route("/v1/info", get(info))
        .route("/v1/status", get(status))
        .route("/v1/objects", post(objects))
        .route("/v1/apply", post(apply_manifests))
        .route("/v1/delete", post(delete))
        .route("/v1/scale", post(scale))
        .route("/v1/logs", post(super::exec_and_logs::logs))
        .route("/v1/rules", get(rules))
        .route("/v1/rules/allow", post(allow))
        .route("/v1/rules/deny", post(deny))
        .route("/v1/stop", post(stop))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(daemon);
    axum::serve(listener, router).await
}

async fn objects(
    State(daemon): State<Shared>,
    Input(query): Input<Query>,
) -> Answer<Vec<ClusterObjects>> {
    let kinds = selection::kinds(&query.kind)?;
    let selector = query.selector.as_deref().map(Selector::read).transpose()?;
    let (namespace, name) = (query.namespace.as_deref(), query.name.as_deref());
    let clusters = selection::clusters(&daemon.clusters, query.cluster.as_deref())?;
    let found = clusters.into_iter().map(|cluster| {
        let items = selection::select(cluster, &kinds, namespace, name, selector.as_ref());
        ClusterObjects {
            cluster: cluster.name.clone(),
            items: items.iter().map(|object| object.body.clone()).collect(),
        }
    });
    let found: Vec<_> = found.collect();
    match name {
        Some(name) if found.iter().all(|cluster| cluster.items.is_empty()) => {
            let message = format!("{} \"{name}\" not found", query.kind);
            Err(ErrorResponse::new(message))
        }
        _ => Ok(Json(found)),
    }
}

async fn apply_manifests(
    State(daemon): State<Shared>,
    Input(request): Input<Apply>,
) -> Answer<ApplyReply> {
    let cluster = selection::cluster(&daemon.clusters, request.cluster.as_deref())?;
    let read = read(
        &request.sources,
        request.validate,
        request.namespace.as_deref(),
    )?;
    let unknown = read.warnings.iter().map(ToString::to_string);
    let objects = read.objects.iter();
    let warnings = unknown.chain(objects.flat_map(|located| daemon.warnings(located)));
    let warnings = warnings.collect();
    let applied = apply_to(cluster, read, request.dry_run).map_err(invalid)?;
    Ok(Json(ApplyReply { applied, warnings }))
}

/// Applies manifests to a cluster, all or none; with `dry_run` only to a copy of its objects.
///
/// # Errors
/// Every problem found, with file and line.
pub(crate) fn apply_to(
    cluster: &Cluster,
    manifests: Manifests,
    dry_run: bool,
) -> Result<Vec<Applied>, Vec<Problem>> {
    cluster.objects.write(|objects| {
        let mut trial = objects.clone();
        let applied = apply::apply(&mut trial, manifests, &cluster.context(now()))?;
        if !dry_run {
            *objects = trial;
        }
        Ok(applied)
    })
}

fn read(
    sources: &[Source],
    strictness: Strictness,
    namespace: Option<&str>,
) -> Result<Manifests, ErrorResponse> {
    let options = manifest::Options {
        strictness,
        namespace: namespace.unwrap_or("default").to_owned(),
        ..manifest::Options::default()
    };
    let sources = sources.iter();
    let sources = sources.map(|source| manifest::Source::new(&source.name, &source.text));
    let sources: Vec<_> = sources.collect();
    manifest::read(&sources, &options).map_err(|refused| invalid(refused.0))
}

fn invalid(problems: Vec<Problem>) -> ErrorResponse {
    let count = problems.len();
    let plural = if count == 1 { "" } else { "s" };
    ErrorResponse {
        message: format!("nothing was applied: {count} problem{plural} in the manifests"),
        problems: problems.iter().map(ToString::to_string).collect(),
    }
}

async fn delete(
    State(daemon): State<Shared>,
    Input(request): Input<Delete>,
) -> Answer<Vec<String>> {
    let cluster = selection::cluster(&daemon.clusters, request.cluster.as_deref())?;
    let (namespace, name) = (request.namespace.as_deref(), request.name.as_deref());
    let keys: Vec<Key> = if request.sources.is_empty() {
        if name.is_none() && request.selector.is_none() {
            let message = "say which: a name, or a selector with -l";
            return Err(ErrorResponse::new(message));
        }
        let selector = request
            .selector
            .as_deref()
            .map(Selector::read)
            .transpose()?;
        let kinds = selection::kinds(&request.kind)?;
        let namespace = Some(namespace.unwrap_or("default"));
        let found = selection::select(cluster, &kinds, namespace, name, selector.as_ref());
        found.iter().map(|object| object.key.clone()).collect()
    } else {
        let read = read(&request.sources, Strictness::Ignore, namespace)?;
        let keys = read
            .objects
            .iter()
            .filter_map(|located| Key::of(&located.object));
        let exists = |key: &Key| {
            cluster
                .objects
                .read(|objects| objects.object(key).is_some())
        };
        let mut keys: Vec<Key> = keys.filter(exists).collect();
        // Objects that refer to others are deleted before them.
        keys.sort_by_key(|key| std::cmp::Reverse(key.kind));
        keys
    };
    cluster.objects.write(|objects| {
        for key in &keys {
            deletion::delete(objects, key, request.grace_seconds, now());
        }
    });
    Ok(Json(keys.iter().map(ToString::to_string).collect()))
}

async fn scale(State(daemon): State<Shared>, Input(request): Input<Scale>) -> Answer<()> {
    let cluster = selection::cluster(&daemon.clusters, request.cluster.as_deref())?;
    let namespace = request.namespace.as_deref().unwrap_or("default");
    let name = request.name.rsplit('/').next().unwrap_or_default();
    let replicas = i32::try_from(request.replicas).unwrap_or(i32::MAX);
    if let Some(violation) = limits::replicas(replicas) {
        let message = format!("--replicas {}", violation.message);
        return Err(ErrorResponse::new(message));
    }
    let found = cluster.objects.write(|objects| {
        objects.edit::<Deployment>(namespace, name, |deployment| {
            deployment.spec.get_or_insert_default().replicas = Some(replicas);
        });
        objects.get::<Deployment>(namespace, name)
    });
    found.map(|_| Json(())).ok_or_else(|| {
        ErrorResponse::new(format!(
            "deployment \"{name}\" not found in namespace {namespace} of {}",
            cluster.name
        ))
    })
}

async fn allow(State(daemon): State<Shared>, Input(rule): Input<PortRule>) -> Answer<()> {
    change_rules(&daemon, &rule, NetworkPolicy::allow).await
}

async fn deny(State(daemon): State<Shared>, Input(rule): Input<PortRule>) -> Answer<()> {
    change_rules(&daemon, &rule, NetworkPolicy::deny).await
}

async fn change_rules(
    daemon: &Daemon,
    rule: &PortRule,
    change: fn(&mut NetworkPolicy, &PortRule),
) -> Answer<()> {
    let changed = daemon.network.change(rule, change).await;
    changed
        .map(Json)
        .map_err(|error| ErrorResponse::new(error.to_string()))
}

async fn stop(State(daemon): State<Shared>) -> Json<()> {
    daemon.stop.notify_one();
    Json(())
}
