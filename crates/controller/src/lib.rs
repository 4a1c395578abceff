//! The reconcile core of a mesh controller: creates the resources that the objects of clusters desire in the App Mesh
//! and Cloud Map APIs, keeps them, and deletes them again.
//!
//! Each resource is reconciled by itself: a pure function compares desired and observed state and returns the next
//! call ([`mesh::step`], [`registry::plan`]); a work queue with a backoff for each key decides when ([`WorkQueue`]).
//! So a rejected resource delays nothing but itself, and an API that does not answer gets one call at a time until it
//! does. Everything is compared with the API again on a timer, and at the start orphans of an earlier run of this
//! controller are found by their ownership tag ([`OWNER_TAG`]) and deleted.
//!
//! It is not a Kubernetes client and does not know the local runtime: a [`Cluster`] is the source of objects and the
//! target of their status, [`MeshApi`] and [`RegistryApi`] hold the resources. Several clusters may share one
//! controller.
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

/// Tag of resources and services that a controller created; the value is [`Options::owner`]. Resources without it, or
/// with another value, are never deleted.
pub const OWNER_TAG: &str = "tombolo.dev/controller";

/// Attribute of registered instances with the name of the pod's cluster. Instances of other clusters are never
/// changed.
pub const CLUSTER_ATTRIBUTE: &str = "tombolo.dev/cluster";

/// The options of a controller.
#[derive(Clone, Debug)]
pub struct Options {
    /// The identity that marks the resources of this controller (1 to 256 characters). It must be the same in the
    /// next run.
    pub owner: String,
    /// Whether a resource that no controller has marked belongs to the object that asks for it, and is deleted with it, as
    /// AWS's controller has it. Else such a resource is never deleted.
    pub adopt: bool,
    /// Time between two full comparisons with the API.
    pub recheck: Duration,
    /// The VPC in which missing Cloud Map namespaces are created; `None` creates none.
    pub create_namespaces: Option<String>,
    /// TTL in seconds of the DNS records of services that the controller creates.
    pub dns_ttl: u32,
}

impl Options {
    /// The defaults of a controller with this identity: everything is rechecked every 15 seconds.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            adopt: false,
            recheck: Duration::from_secs(15),
            create_namespaces: None,
            dns_ttl: 300,
        }
    }
}

/// An event for the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A resource exists in the mesh API for the first time in this run.
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
