//! Brings mesh objects to the control plane and writes back what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tombolo_api::client::{Client, Error};
use tombolo_model::appmesh::{Kind as MeshKind, ResourceKey, Spec};

use super::Changes;
use super::wanted::{Item, Source, Wanted, wanted};
use crate::clock;
use crate::cluster::view::view;
use crate::cluster::{Cluster, Kind};
use crate::progress::{Event, Progress};

/// How often everything is compared with the control plane although nothing happened here.
const RECHECK: Duration = Duration::from_secs(15);

/// Pause before what was refused is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Calls under way at a time. The order within a mesh is kept by kind, not by object.
const CONCURRENT: usize = 16;

/// The mesh controller of all clusters.
pub struct Controller {
    clusters: Vec<Arc<Cluster>>,
    client: Client,
    progress: Progress,
    /// What the control plane holds of ours, as far as we know.
    known: BTreeMap<ResourceKey, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    spec: Spec,
    arn: String,
}

impl Controller {
    /// A controller that knows nothing of the control plane yet.
    pub fn new(clusters: Vec<Arc<Cluster>>, client: Client, progress: Progress) -> Self {
        Self {
            clusters,
            client,
            progress,
            known: BTreeMap::new(),
        }
    }

    /// Reconciles at each change, and on a timer, until dropped. `restarted` wakes it when the control plane
    /// came back, so that what it may have lost is noticed at once.
    pub async fn run(mut self, restarted: Arc<tokio::sync::Notify>) {
        let mut changes = Changes::of(&self.clusters);
        let mut verify = true;
        let mut rechecked = tokio::time::Instant::now();
        loop {
            if verify {
                rechecked = tokio::time::Instant::now();
            }
            let complete = self.reconcile(verify).await;
            let pause = if complete {
                RECHECK.saturating_sub(rechecked.elapsed())
            } else {
                RETRY
            };
            verify = tokio::select! {
                () = changes.next() => false,
                () = restarted.notified() => true,
                () = tokio::time::sleep(pause) => complete,
            };
        }
    }

    /// One pass; true when nothing is left to do.
    async fn reconcile(&mut self, verify: bool) -> bool {
        let views: Vec<_> = self
            .clusters
            .iter()
            .map(|cluster| cluster.objects.read(view))
            .collect();
        let named: Vec<_> = self
            .clusters
            .iter()
            .zip(&views)
            .map(|(cluster, view)| (cluster.name.as_str(), view))
            .collect();
        let wanted = wanted(&named);
        let mut failures: BTreeMap<ResourceKey, String> = BTreeMap::new();
        // Kind by kind: what others refer to is there before they are.
        for kind in MeshKind::ALL {
            let due: Vec<_> = wanted
                .items
                .iter()
                .filter(|(key, item)| {
                    key.kind == kind
                        && (verify
                            || self
                                .known
                                .get(key)
                                .is_none_or(|known| known.spec != item.spec))
                })
                .map(|(key, item)| (key.clone(), item.spec.clone()))
                .collect();
            let client = &self.client;
            let calls = due.into_iter().map(|(key, spec)| async move {
                let result = put(client, &key, &spec).await;
                (key, spec, result)
            });
            let results: Vec<_> = futures::stream::iter(calls)
                .buffer_unordered(CONCURRENT)
                .collect()
                .await;
            for (key, spec, result) in results {
                match result {
                    Ok(arn) => {
                        if self
                            .known
                            .insert(key.clone(), Known { spec, arn })
                            .is_none()
                        {
                            self.progress.send(Event::MeshObject {
                                kind: key.kind.to_string(),
                                name: key.name.to_string(),
                            });
                        }
                    }
                    Err(error) => {
                        failures.insert(key, error.to_string());
                    }
                }
            }
        }
        let stale_left = self.delete_stale(&wanted).await;
        self.publish(&wanted, &failures);
        failures.is_empty() && !stale_left && wanted.refused.is_empty()
    }

    /// Deletes what no cluster asks for any more, children first; true when something has to wait.
    async fn delete_stale(&mut self, wanted: &Wanted) -> bool {
        let stale: Vec<_> = self
            .known
            .keys()
            .filter(|key| !wanted.items.contains_key(key))
            .cloned()
            .collect();
        let mut left = false;
        for kind in MeshKind::ALL.into_iter().rev() {
            for key in stale.iter().filter(|key| key.kind == kind) {
                match self.client.delete(key).await {
                    Ok(_) => {
                        self.known.remove(key);
                    }
                    Err(error) if error.is_not_found() => {
                        self.known.remove(key);
                    }
                    Err(error) => {
                        // Still in use, most often: its user goes in a later pass.
                        tracing::debug!(?key, %error, "not deleted yet");
                        left = true;
                    }
                }
            }
        }
        left
    }

    /// Writes ARN and condition into every object that asks for something.
    fn publish(&self, wanted: &Wanted, failures: &BTreeMap<ResourceKey, String>) {
        let mut states: BTreeMap<&Source, State> = BTreeMap::new();
        for (key, Item { sources, .. }) in &wanted.items {
            for source in sources {
                let state = states.entry(source).or_default();
                let arn = self.known.get(key).map(|known| known.arn.clone());
                if key.kind == MeshKind::Route {
                    state
                        .routes
                        .extend(arn.map(|arn| (key.name.to_string(), arn)));
                } else {
                    state.arn = arn;
                }
                state.problems.extend(failures.get(key).map(String::as_str));
            }
        }
        for (source, message) in &wanted.refused {
            states.entry(source).or_default().problems.insert(message);
        }
        for (source, state) in states {
            self.clusters[source.cluster].objects.write(|objects| {
                objects.edit_body(&source.key, |body| {
                    write_status(body, source.key.kind, &state)
                });
            });
        }
    }
}

#[derive(Default)]
struct State<'a> {
    arn: Option<String>,
    routes: BTreeMap<String, String>,
    problems: BTreeSet<&'a str>,
}

/// Creates or updates a resource, whichever is needed; its ARN.
async fn put(client: &Client, key: &ResourceKey, spec: &Spec) -> Result<String, Error> {
    match client.find(key).await? {
        None => Ok(client.create(key, spec).await?.metadata.arn),
        Some(found) if found.spec == *spec => Ok(found.metadata.arn),
        Some(_) => Ok(client.update(key, spec).await?.metadata.arn),
    }
}

/// The status as `facts/controller.md` §1 has it: ARN fields, one condition, the generation it speaks of.
fn write_status(body: &mut Value, kind: Kind, state: &State<'_>) {
    let name = kind.name();
    let lower = name[..1].to_ascii_lowercase() + &name[1..];
    let active = state.problems.is_empty() && state.arn.is_some();
    let word = if active { "True" } else { "False" };
    let condition_name = format!("{name}Active");
    let old = body
        .pointer("/status/conditions/0")
        .cloned()
        .unwrap_or_default();
    let same = old.get("status").and_then(Value::as_str) == Some(word);
    let since = old.get("lastTransitionTime").filter(|_| same).cloned();
    let now = || {
        serde_json::to_value(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            clock::now(),
        ))
        .unwrap_or_default()
    };
    let mut condition = json!({"type": condition_name, "status": word, "lastTransitionTime": since.unwrap_or_else(now)});
    if !active {
        let message = state
            .problems
            .iter()
            .copied()
            .collect::<Vec<_>>()
            .join("; ");
        condition["reason"] = "ReconcileError".into();
        condition["message"] = if message.is_empty() {
            "waiting for the control plane".into()
        } else {
            message.into()
        };
    }
    let generation = body
        .pointer("/metadata/generation")
        .cloned()
        .unwrap_or_default();
    let mut status = json!({"conditions": [condition], "observedGeneration": generation});
    if let Some(arn) = &state.arn {
        status[format!("{lower}ARN")] = arn.clone().into();
    }
    if !state.routes.is_empty() {
        status["routeARNs"] = json!(state.routes);
    }
    body["status"] = status;
}
