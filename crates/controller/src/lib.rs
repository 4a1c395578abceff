//! The reconcile core of a mesh controller: what the objects of clusters ask for is created in the App Mesh and Cloud
//! Map APIs, kept there, and removed again.
//!
//! Each resource is reconciled by itself: a pure function compares what is desired with what was observed and names
//! the next call ([`mesh::step`], [`registry::plan`]); a work queue with a backoff for each key decides when
//! ([`WorkQueue`]). So a resource that is refused delays nothing but itself, and an API that does not answer is asked
//! by one call at a time until it does. Everything is compared with the API again on a timer, and at the start what an
//! earlier run of this controller left behind is found by its ownership tag ([`OWNER_TAG`]) and removed.
//!
//! It is not a Kubernetes client and knows no local runtime: a [`Cluster`] is where objects come from and where their
//! status goes, [`MeshApi`] and [`RegistryApi`] are where resources go. Several clusters may share one controller.
//!
//! Read [`mesh::Controller`] first, then [`registry::Controller`].

#![forbid(unsafe_code)]

pub mod api;
mod cluster;
pub mod desired;
mod jobs;
pub mod mesh;
mod queue;
pub mod registry;
mod status;
#[cfg(test)]
mod testkit;

use std::sync::Arc;
use std::time::Duration;

pub use api::{ApiError, MeshApi, RegistryApi};
pub use cluster::{Changes, Cluster, ObjectRef, PatchError};
pub use desired::{Desired, desired};
pub use queue::{Outcome, WorkQueue};
pub use status::{Problem, Reason, Status};

/// Tag of resources and services that a controller created; the value is [`Options::owner`]. What does not carry it,
/// or carries another value, is never deleted.
pub const OWNER_TAG: &str = "tombolo.dev/controller";

/// Attribute of registered instances that names the cluster of the pod. Instances of other clusters are never touched.
pub const CLUSTER_ATTRIBUTE: &str = "tombolo.dev/cluster";

/// How a controller works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The identity that marks what this controller created (1 to 256 characters). It must be the same in the next run.
    pub owner: String,
    /// Time between two comparisons of everything with the API.
    pub recheck: Duration,
    /// The VPC in which Cloud Map namespaces that do not exist are created; `None` creates no namespace.
    pub create_namespaces: Option<String>,
    /// Seconds that resolvers may keep an answer about a service that the controller creates.
    pub dns_ttl: u32,
}

impl Options {
    /// The defaults of a controller with this identity: everything is rechecked every 15 seconds.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            recheck: Duration::from_secs(15),
            create_namespaces: None,
            dns_ttl: 300,
        }
    }
}

/// An event for the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A resource is in the mesh API for the first time in this run.
    Created(tombolo_model::appmesh::ResourceKey),
    /// A Cloud Map namespace did not exist and was created.
    NamespaceCreated {
        /// The name of the namespace.
        name: String,
    },
    /// A pod is not registered because its address is registered for another node or cluster.
    AddressTaken {
        /// The virtual node, as the mesh API names it.
        node: String,
        /// The address.
        address: String,
    },
}

/// Receives events. Called from the controller's task: it must not block.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;
