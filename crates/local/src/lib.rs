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
//! Read [`up::Options`] first, then [`daemon`] for what runs inside of the sandbox.

#![forbid(unsafe_code)]

mod accept_loop;
mod cluster;
mod container_runtime;
pub mod control_socket;
pub mod daemon;
mod images_file;
mod kubelet;
mod load_balancers;
mod mesh_controller;
mod network;
pub mod progress;
pub mod up;

pub use network::security_group::parse_ports;
