//! The objects that decisions are made against: watched, and read anew where a refusal hangs on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tombolo_kube::cluster::ObjectKey;
use tombolo_kube::crd::{self, Kind, Resource};
use tombolo_kube::{ClusterObjects, selector::Labels};
use tombolo_telemetry::supervisor::{Stage, restart_delays};
use tombolo_telemetry::{Outage, Supervisor};

/// What is watched: namespaces and every mesh kind.
const SOURCES: usize = Kind::ALL.len() + 1;
/// How long reading anew may take: the API server gives a webhook five seconds in all.
const FRESH_TIMEOUT: Duration = Duration::from_secs(3);
/// How many questions may read anew at once.
const FRESH_AT_ONCE: usize = 8;

/// A cluster's namespaces and mesh objects. Clones share them.
#[derive(Clone)]
pub(super) struct View {
    client: Client,
    /// What the watches saw. Guarded for the length of a decision, which waits for nothing.
    objects: Arc<RwLock<ClusterObjects>>,
    /// One bit for each source that was listed once.
    synced: Arc<AtomicU8>,
    fresh: Arc<Semaphore>,
}

/// Why there is no fresh view.
#[derive(Debug, thiserror::Error)]
pub(super) enum FreshError {
    #[error("the API server cannot be asked")]
    Api(#[source] kube::Error),
    #[error("the API server did not answer within {FRESH_TIMEOUT:?}")]
    Timeout,
    #[error("too many questions wait for the API server already")]
    Busy,
}

impl View {
    /// An empty view, which [`Self::watch`] fills.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            objects: Arc::default(),
            synced: Arc::default(),
            fresh: Arc::new(Semaphore::new(FRESH_AT_ONCE)),
        }
    }

    /// Follows the cluster for as long as the process runs.
    pub(super) fn watch(&self, supervisor: &mut Supervisor, stage: Stage) {
        let view = self.clone();
        supervisor.spawn_restarting(stage, "watch namespaces", restart_delays(), move |stop| {
            let api: Api<PartialObjectMeta<Namespace>> = Api::all(view.client.clone());
            let events = watcher::watcher(api, watcher::Config::default());
            let view = view.clone();
            async move {
                view.follow(Kind::ALL.len(), events, &stop, Namespaces)
                    .await
            }
        });
        for kind in Kind::ALL {
            let view = self.clone();
            let name = format!("watch {kind} objects");
            supervisor.spawn_restarting(stage, name, restart_delays(), move |stop| {
                let api = Api::all_with(view.client.clone(), &api_resource(kind));
                let events = watcher::watcher(api, watcher::Config::default());
                let view = view.clone();
                async move {
                    view.follow(kind as usize, events, &stop, Objects(kind))
                        .await
                }
            });
        }
    }

    /// Whether everything was listed once.
    pub(super) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire).count_ones() as usize == SOURCES
    }

    /// Decides on what the watches saw.
    pub(super) fn with<T>(&self, decide: impl FnOnce(&ClusterObjects) -> T) -> T {
        decide(&self.objects.read())
    }

    /// What matters for objects of a namespace as the API server has it now: the namespace, all meshes and gateways,
    /// and the namespace's nodes.
    pub(super) async fn fresh(&self, namespace: &str) -> Result<ClusterObjects, FreshError> {
        let _permit = self.fresh.try_acquire().map_err(|_| FreshError::Busy)?;
        let read = timeout(FRESH_TIMEOUT, self.read(namespace)).await;
        read.map_err(|_| FreshError::Timeout)?
            .map_err(FreshError::Api)
    }

    async fn read(&self, namespace: &str) -> Result<ClusterObjects, kube::Error> {
        let params = ListParams::default();
        let all = |kind| Api::all_with(self.client.clone(), &api_resource(kind));
        let nodes = api_resource(Kind::VirtualNode);
        let (namespaces, meshes, gateways, nodes) = (
            Api::<Namespace>::all(self.client.clone()),
            all(Kind::Mesh),
            all(Kind::VirtualGateway),
            Api::namespaced_with(self.client.clone(), namespace, &nodes),
        );
        let (found, meshes, gateways, nodes) = tokio::try_join!(
            namespaces.get_metadata_opt(namespace),
            meshes.list(&params),
            gateways.list(&params),
            nodes.list(&params),
        )?;
        let mut objects = ClusterObjects::new();
        if let Some(found) = found {
            objects.put_namespace(namespace, found.metadata.labels.unwrap_or_default());
        }
        for (kind, list) in [
            (Kind::Mesh, meshes),
            (Kind::VirtualGateway, gateways),
            (Kind::VirtualNode, nodes),
        ] {
            for object in list {
                put(&mut objects, kind, object);
            }
        }
        Ok(objects)
    }

    /// Takes what a watch says into the view. A list replaces what there was at its end, never halfway.
    async fn follow<S: Source>(
        &self,
        bit: usize,
        events: impl Stream<Item = watcher::Result<Event<S::Item>>>,
        stop: &tombolo_telemetry::supervisor::Stop,
        source: S,
    ) -> Result<(), watcher::Error> {
        let events = events.default_backoff();
        let mut events = std::pin::pin!(events.take_until(stop.cancelled()));
        let mut listed = Vec::new();
        let mut outage = Outage::default();
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    if outage.begins() {
                        let error = tombolo_telemetry::ErrorChain(&error).to_string();
                        tracing::warn!(
                            source = source.name(),
                            error,
                            "cannot watch; trying until it succeeds"
                        );
                    }
                    continue;
                }
            };
            if let Some(failures) = outage.ended() {
                tracing::info!(source = source.name(), failures, "watching again");
            }
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(item) => listed.push(item),
                Event::InitDone => {
                    source.replace(&mut self.objects.write(), std::mem::take(&mut listed));
                    self.synced.fetch_or(1 << bit, Ordering::AcqRel);
                }
                Event::Apply(item) => source.put(&mut self.objects.write(), item),
                Event::Delete(item) => source.remove(&mut self.objects.write(), &item),
            }
        }
        Ok(())
    }
}

/// How one kind of object gets into the view.
trait Source {
    type Item;

    fn name(&self) -> &'static str;
    fn put(&self, objects: &mut ClusterObjects, item: Self::Item);
    fn remove(&self, objects: &mut ClusterObjects, item: &Self::Item);
    fn replace(&self, objects: &mut ClusterObjects, items: Vec<Self::Item>);
}

struct Namespaces;

impl Source for Namespaces {
    type Item = PartialObjectMeta<Namespace>;

    fn name(&self) -> &'static str {
        "Namespace"
    }

    fn put(&self, objects: &mut ClusterObjects, item: Self::Item) {
        let labels: Labels = item.metadata.labels.unwrap_or_default();
        objects.put_namespace(item.metadata.name.unwrap_or_default(), labels);
    }

    fn remove(&self, objects: &mut ClusterObjects, item: &Self::Item) {
        objects.remove_namespace(item.metadata.name.as_deref().unwrap_or_default());
    }

    fn replace(&self, objects: &mut ClusterObjects, items: Vec<Self::Item>) {
        let old: Vec<String> = objects.namespaces().map(str::to_owned).collect();
        for name in old {
            objects.remove_namespace(&name);
        }
        for item in items {
            self.put(objects, item);
        }
    }
}

struct Objects(Kind);

impl Source for Objects {
    type Item = DynamicObject;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn put(&self, objects: &mut ClusterObjects, item: Self::Item) {
        put(objects, self.0, item);
    }

    fn remove(&self, objects: &mut ClusterObjects, item: &Self::Item) {
        let key = key(item);
        objects.remove(self.0, &key.namespace, &key.name);
    }

    fn replace(&self, objects: &mut ClusterObjects, items: Vec<Self::Item>) {
        let kept: BTreeSet<ObjectKey> = items.iter().map(key).collect();
        let gone: Vec<ObjectKey> = objects
            .all(self.0)
            .map(ObjectKey::of)
            .filter(|key| !kept.contains(key))
            .collect();
        for key in gone {
            objects.remove(self.0, &key.namespace, &key.name);
        }
        for item in items {
            self.put(objects, item);
        }
    }
}

fn key(item: &DynamicObject) -> ObjectKey {
    ObjectKey::new(
        item.metadata.namespace.clone().unwrap_or_default(),
        item.metadata.name.clone().unwrap_or_default(),
    )
}

/// An object that does not have its kind's shape was let in by nobody of ours: it is left out, and takes no pods.
fn put(objects: &mut ClusterObjects, kind: Kind, item: DynamicObject) {
    let key = key(&item);
    let value = serde_json::to_value(item).expect("the keys of every map are strings");
    match Resource::decode(kind, &value) {
        Ok(decoded) => drop(objects.put(decoded.value)),
        Err(error) => {
            tracing::warn!(%kind, object = %key, %error, "object has an unexpected shape");
            objects.remove(kind, &key.namespace, &key.name);
        }
    }
}

fn api_resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: crd::GROUP.to_owned(),
        version: crd::VERSION.to_owned(),
        api_version: crd::API_VERSION.to_owned(),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}
