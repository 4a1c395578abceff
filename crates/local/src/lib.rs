//! Clusters on one Linux machine: what `tombolo up` runs.
//!
//! Kubernetes manifests become processes: Deployments, Services, ConfigMaps and the mesh kinds are reconciled
//! as on Kubernetes, each pod is a network namespace with its own address, and its containers are processes in
//! it. The mesh kinds reach the control plane through the same AWS APIs that a real controller uses.
//!
//! It is not Kubernetes and no container runtime: images are names for commands, nothing is isolated from its
//! owner, and nothing outlives the process that was started. Kernel work is in `tombolo-linux`, the meaning of
//! manifests in `tombolo-kube`.
//!
//! Read [`up::Options`] first, then [`node`] for what runs inside of the sandbox.

#![forbid(unsafe_code)]

pub mod balance;
mod clock;
pub mod cluster;
pub mod control;
pub mod images;
pub mod machine;
pub mod mesh;
pub mod network;
pub mod node;
pub mod pod;
pub mod progress;
pub mod up;
