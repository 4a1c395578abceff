//! One local cluster: its objects, and the reconcilers that turn what users asked for into pods and Services.

pub mod apply;
pub mod collect;
pub mod endpoint;
pub mod environment;
pub mod kind;
pub mod limit;
pub mod name;
pub mod object;
pub mod pods;
pub mod rollout;
pub mod service;
pub mod view;
pub mod workload;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tombolo_linux::fabric::Ipv4Range;

pub use kind::Kind;
pub use name::Entropy;
pub use object::{Key, Object, Objects, Shared};
use workload::{Inject, Moment};

/// Passes after which a reconciler that still finds work gives way to others. It is woken again by its own
/// change.
const PASSES: usize = 64;

/// A cluster.
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Addresses of its pods.
    pub range: Ipv4Range,
    /// Addresses of its Services.
    pub services: Ipv4Range,
    /// Its objects.
    pub objects: Shared,
    /// Where its names come from.
    pub entropy: Arc<Entropy>,
    /// What happens to each new pod.
    pub inject: Box<Inject>,
}

impl Cluster {
    /// Brings Deployments, ReplicaSets, Services and namespaces as far as they get without anything else
    /// happening.
    pub fn reconcile(&self, now: Timestamp) {
        self.objects.write(|objects| {
            let moment = Moment {
                now,
                entropy: &self.entropy,
                inject: &self.inject,
            };
            for _ in 0..PASSES {
                let before = objects.revision();
                collect::reconcile(objects, now);
                service::reconcile(objects, self.services);
                workload::reconcile(objects, &moment);
                if objects.revision() == before {
                    break;
                }
            }
        });
    }

    /// Runs the reconcilers at each change, until dropped.
    pub async fn run(self: Arc<Self>) {
        let mut changes = self.objects.watch();
        loop {
            self.reconcile(crate::clock::now());
            // The own changes of this pass have woken nobody to whom they are news.
            let _ =
                tokio::time::timeout(std::time::Duration::from_secs(10), changes.changed()).await;
        }
    }
}

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
