//! The Linux kernel interface of Tombolo's local runtime: namespaces, links, packet rules and processes.
//!
//! It uses the kernel alone (system calls, rtnetlink, nf_tables): no `ip`, `nft` or `iptables` program is run, and
//! nothing is written to the host's file system. It works as root, and as an ordinary user wherever the kernel allows
//! unprivileged user namespaces. It has pods, containers and address ranges, and knows nothing of meshes or
//! Kubernetes.
//!
//! Unsafe code is confined to `pre_exec/syscalls.rs`, with a reason at each use.
//!
//! Read [`sandbox::Sandbox`] first: everything else happens inside the sandbox that it launches, and is removed with
//! it. Then [`fabric::Fabric`] (the network between pods) and [`container::Container`] (a process of a pod).

pub mod container;
mod error;
pub mod fabric;
pub mod host_link;
pub mod intercept;
mod netlink;
pub mod netns;
pub mod nft;
mod pre_exec;
mod process;
mod rootfs;
mod route;
pub mod sandbox;

pub use error::{Error, Result};
pub use rustix::process::Signal;
pub use rustix::thread::CapabilitySet;
