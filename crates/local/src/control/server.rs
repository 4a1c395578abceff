//! The runtime's side of the control socket.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Json, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use k8s_openapi::api::apps::v1::Deployment;
use tokio::net::UnixListener;
use tombolo_kube::manifest::{self, Problem, Strictness};

use super::query::{self, Selector, refusal};
use super::types::*;
use crate::clock;
use crate::cluster::{Cluster, Key, apply, collect, limit};
use crate::node::runtime::Runtime;

/// Bytes of a request.
const LARGEST: usize = 32 << 20;

pub(super) type Shared = Arc<Runtime>;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(self)).into_response()
    }
}

/// A JSON body whose faults are answered as every other refusal.
pub(super) struct Input<T>(pub(super) T);

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
        .route("/v1/logs", post(super::reach::logs))
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
    let read = read(
        &request.sources,
        request.validate,
        request.namespace.as_deref(),
    )?;
    let mut warnings: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(
        read.objects
            .iter()
            .flat_map(|located| runtime.warnings(located)),
    );
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
    let replicas = i32::try_from(request.replicas).unwrap_or(i32::MAX);
    if let Some(denial) = limit::replicas(Some(replicas)) {
        return Err(refusal(format!("--replicas {}", denial.message)));
    }
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

async fn allow(
    State(runtime): State<Shared>,
    Input(opening): Input<Opening>,
) -> Result<Json<()>, Refusal> {
    let allowed = runtime.network.allow(&opening).await;
    allowed
        .map(Json)
        .map_err(|error| refusal(error.to_string()))
}

async fn deny(
    State(runtime): State<Shared>,
    Input(opening): Input<Opening>,
) -> Result<Json<()>, Refusal> {
    let denied = runtime.network.deny(&opening).await;
    denied.map(Json).map_err(|error| refusal(error.to_string()))
}

async fn stop(State(runtime): State<Shared>) -> Json<()> {
    runtime.stop.notify_one();
    Json(())
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
