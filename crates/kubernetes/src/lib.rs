//! The Kubernetes side of the mesh: what talks to an API server, and what an API server talks to.
//!
//! It decides nothing. What objects ask for is the reconcile core's business (`tombolo-controller`); what is admitted and
//! injected is that of `tombolo-kube`. Here is only the I/O between them and real clusters.
//!
//! Read [`cluster::KubernetesCluster`] first: a cluster as the reconcile core sees it.

#![forbid(unsafe_code)]

pub mod client;
pub mod cluster;
pub mod controller;
pub mod events;
pub mod lease;
pub mod metrics;
pub mod webhook;
