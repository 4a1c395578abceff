//! One local cluster: its objects, and the controllers that turn Deployments into pods and give Services addresses.

pub(crate) mod apply;
pub(crate) mod deletion;
pub(crate) mod deployment;
mod kind;
pub(crate) mod limits;
mod mesh_object_cache;
mod names;
mod object_store;
mod pods;
mod replica_set;
mod rollout;
mod service_allocator;
pub(crate) mod service_view;
pub(crate) mod sidecar_injector;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use tombolo_kube::Violation;
use tombolo_linux::fabric::Ipv4Range;

pub(crate) use kind::Kind;
pub(crate) use names::{NameGenerator, fnv1a};
pub(crate) use object_store::{Key, Object, ObjectStore, Objects};

/// Maximum passes in a row after which the controllers of a cluster yield although work is left. Their own change
/// wakes them again.
const MAX_PASSES: usize = 64;

/// Time between two passes without a change.
const RECHECK: Duration = Duration::from_secs(10);

/// The current time, as Kubernetes objects carry it. Decisions take it as an argument. A clock before 1970 reads as
/// 1970.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let milliseconds = i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The sidecar injector: turns a pod as written into the pod that runs. A violation denies the pod.
pub(crate) type Inject = dyn Fn(&Objects, Pod) -> Result<Pod, Violation> + Send + Sync;

/// The inputs of one pass of the controllers other than the objects.
pub(crate) struct ReconcileContext<'a> {
    /// The current time, for new objects.
    pub(crate) now: Timestamp,
    /// Generates names and uids.
    pub(crate) names: &'a NameGenerator,
    /// Called for each new pod.
    pub(crate) inject: &'a Inject,
}

/// A cluster: its objects and its address ranges.
pub(crate) struct Cluster {
    pub(crate) name: String,
    /// Addresses of the pods.
    pub(crate) range: Ipv4Range,
    /// Addresses of the Services.
    pub(crate) services: Ipv4Range,
    pub(crate) objects: ObjectStore,
    pub(crate) names: Arc<NameGenerator>,
    /// Called for each new pod.
    pub(crate) inject: Box<Inject>,
}

impl Cluster {
    /// The context of a pass at `now`.
    pub(crate) fn context(&self, now: Timestamp) -> ReconcileContext<'_> {
        ReconcileContext {
            now,
            names: &self.names,
            inject: &self.inject,
        }
    }

    /// Runs the controllers until they find nothing to do: garbage collection, Services, Deployments, ReplicaSets.
    /// Each reads all objects, so a lost wake-up delays work and loses none.
    pub(crate) fn reconcile(&self, now: Timestamp) {
        let context = self.context(now);
        self.objects.write(|objects| {
            for _ in 0..MAX_PASSES {
                let before = objects.revision();
                deletion::reconcile(objects, now);
                service_allocator::reconcile(objects, self.services);
                deployment::reconcile(objects, &context);
                replica_set::reconcile(objects, &context);
                if objects.revision() == before {
                    break;
                }
            }
        });
    }

    /// Runs the controllers at each change and every [`RECHECK`], until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut changes = self.objects.watch();
        loop {
            self.reconcile(now());
            let _ = tokio::time::timeout(RECHECK, changes.changed()).await;
        }
    }
}

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
