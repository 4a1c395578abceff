//! The watches that keep a [`Store`]: one for each kind, each restarted where it left off.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, ExponentialBackoff, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tombolo_kube::crd::Kind;
use tombolo_telemetry::supervisor::{Delays, Stage, restart_delays};
use tombolo_telemetry::{ErrorChain, Outage, Supervisor};

use super::store::{Watched, decode};
use super::{KubernetesCluster, Store, api_resource};
use crate::metrics::Metrics;

/// Pauses between attempts while the API server does not answer; the longest bounds how late its return is noticed.
const PAUSES: Delays = Delays::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(3))
    .with_jitter()
    .without_max_times();

/// Objects that one page of a list has.
const PAGE: u32 = 500;

/// Starts a task for each kind that is watched.
pub fn watch_all(cluster: &Arc<KubernetesCluster>, supervisor: &mut Supervisor, stage: Stage) {
    for watched in Watched::all() {
        let name = format!("watch {} of {}", watched.name(), cluster.name);
        let cluster = cluster.clone();
        supervisor.spawn_restarting(stage, name, restart_delays(), move |stop| {
            let (client, store) = (cluster.client.clone(), cluster.store.clone());
            let metrics = cluster.metrics.clone();
            async move {
                stop.run_until_cancelled(watch(client, store, watched, metrics))
                    .await;
                Ok::<_, Infallible>(())
            }
        });
    }
}

async fn watch(client: Client, store: Store, watched: Watched, metrics: Metrics) {
    match watched {
        Watched::Mesh(kind) => {
            let api: Api<DynamicObject> = Api::all_with(client, &api_resource(kind));
            let events = watcher(api, config());
            follow(events, MeshObjects { store, kind }, watched, metrics).await;
        }
        Watched::Namespaces => {
            let events = stream::<Namespace>(client);
            follow(events, Namespaces { store }, watched, metrics).await;
        }
        Watched::Pods => follow(stream::<Pod>(client), Pods { store }, watched, metrics).await,
        Watched::Nodes => follow(stream::<Node>(client), Nodes { store }, watched, metrics).await,
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

fn stream<K>(client: Client) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(Api::<K>::all(client), config())
}

/// Takes what a watch brings.
trait Sink<K> {
    /// What tells objects of a list apart.
    type Key: Ord;

    fn put(&self, object: K) -> Self::Key;
    fn remove(&self, object: &K);
    /// Removes everything that was not listed.
    fn retain(&self, listed: &BTreeSet<Self::Key>);
    fn store(&self) -> &Store;
}

/// Feeds a store from a watch, until dropped.
async fn follow<K, S: Sink<K>>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    sink: S,
    watched: Watched,
    metrics: Metrics,
) {
    let events = events.backoff(ExponentialBackoff::from(PAUSES));
    let mut events = std::pin::pin!(events);
    let mut outage = Outage::default();
    let mut listed = BTreeSet::new();
    let kind = watched.name();
    while let Some(event) = events.next().await {
        match &event {
            Err(error) => {
                metrics.watch_failed(kind);
                if outage.begins() {
                    let error = ErrorChain(error);
                    tracing::warn!(kind, %error, "objects are not watched; trying until they are");
                }
            }
            Ok(_) => {
                if let Some(failures) = outage.ended() {
                    tracing::info!(kind, failures, "objects are watched again");
                }
            }
        }
        match event {
            Err(_) => {}
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => drop(listed.insert(sink.put(object))),
            Ok(Event::InitDone) => {
                sink.retain(&listed);
                listed.clear();
                sink.store().listed(watched);
            }
            Ok(Event::Apply(object)) => drop(sink.put(object)),
            Ok(Event::Delete(object)) => sink.remove(&object),
        }
        metrics.objects(kind, sink.store().count(watched));
    }
}

struct MeshObjects {
    store: Store,
    kind: Kind,
}

impl Sink<DynamicObject> for MeshObjects {
    type Key = (String, String);

    fn put(&self, object: DynamicObject) -> Self::Key {
        let key = key(&object.metadata);
        match decode(self.kind, object) {
            Ok(resource) => self.store.put(resource),
            // What it was before stays.
            Err(error) => tracing::error!(error = %ErrorChain(&error), "object ignored"),
        }
        key
    }

    fn remove(&self, object: &DynamicObject) {
        let (namespace, name) = key(&object.metadata);
        self.store.remove(self.kind, &namespace, &name);
    }

    fn retain(&self, listed: &BTreeSet<Self::Key>) {
        self.store.retain(self.kind, listed);
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

struct Namespaces {
    store: Store,
}

impl Sink<Namespace> for Namespaces {
    type Key = String;

    fn put(&self, object: Namespace) -> String {
        let name = object.metadata.name.unwrap_or_default();
        let labels = object.metadata.labels.unwrap_or_default();
        self.store.put_namespace(&name, labels);
        name
    }

    fn remove(&self, object: &Namespace) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        self.store.remove_namespace(name);
    }

    fn retain(&self, listed: &BTreeSet<String>) {
        for name in self.store.namespaces() {
            if !listed.contains(&name) {
                self.store.remove_namespace(&name);
            }
        }
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

struct Pods {
    store: Store,
}

impl Sink<Pod> for Pods {
    type Key = (String, String);

    fn put(&self, object: Pod) -> Self::Key {
        let key = key(&object.metadata);
        self.store.put_pod(object);
        key
    }

    fn remove(&self, object: &Pod) {
        self.store.remove_pod(object);
    }

    fn retain(&self, listed: &BTreeSet<Self::Key>) {
        self.store.retain_pods(listed);
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

struct Nodes {
    store: Store,
}

impl Sink<Node> for Nodes {
    type Key = String;

    fn put(&self, object: Node) -> String {
        let name = object.metadata.name.unwrap_or_default();
        let labels = object.metadata.labels.unwrap_or_default();
        self.store.put_host(name.clone(), labels);
        name
    }

    fn remove(&self, object: &Node) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        self.store.remove_host(name);
    }

    fn retain(&self, listed: &BTreeSet<String>) {
        self.store.retain_hosts(listed);
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

fn key(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> (String, String) {
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}
