//! Upstream clusters of one worker: load balancing, connection pools and connections.
//!
//! Nothing here is shared between threads; [`crate::cluster_runtime`] has the shared state.

pub(crate) mod connect;
pub(crate) mod connection_pool;
mod http2;
pub(crate) mod load_balancer;
mod thread_local_cluster;

pub(crate) use thread_local_cluster::{ClusterContext, ThreadLocalCluster, Upstream};
