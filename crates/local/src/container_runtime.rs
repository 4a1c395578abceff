//! The interface between the kubelet and the machine, modelled on Kubernetes' CRI: pod sandboxes with an address, and
//! the containers in them.
//!
//! A trait with two implementations: Linux namespaces ([`linux`]), and a fake in which tests decide when processes
//! end.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod linux;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tombolo_linux::Result;
use tombolo_linux::container::{self, ContainerSpec, ExecSpec};
use tombolo_linux::fabric::{FabricRules, Refusal};

/// Runs pods. Its methods block on system calls; those of sandboxes and processes do not.
pub(crate) trait ContainerRuntime: Send + Sync + 'static {
    /// Creates the sandbox of a pod: a network namespace with this address.
    fn create_sandbox(&self, name: &str, address: Ipv4Addr) -> Result<Arc<dyn PodSandbox>>;

    /// Replaces the rules of the network, all at once; equal rules cost nothing.
    fn apply_rules(&self, rules: &FabricRules) -> Result<()>;

    /// Packets that the rules have refused so far.
    fn refusals(&self) -> Result<Vec<Refusal>>;
}

/// The sandbox of one pod. Everything that runs in it ends when it is dropped.
pub(crate) trait PodSandbox: Send + Sync {
    /// Starts a container in the network namespace of the sandbox.
    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Arc<dyn Process>>>;

    /// Connects from inside the pod, as a probe does.
    fn connect(&self, address: SocketAddrV4) -> BoxFuture<'_, std::io::Result<TcpStream>>;

    /// Removes the network of the pod.
    fn remove(&self);
}

/// A running container.
pub(crate) trait Process: Send + Sync {
    /// The process id in the runtime's pid namespace.
    fn id(&self) -> u32;

    /// Sends SIGTERM.
    fn terminate(&self);

    /// Sends SIGKILL to it and all its descendants.
    fn kill(&self);

    /// Waits for the exit code: 128 + signal when a signal ended it. Any number of waiters; cancel safe.
    fn wait(&self) -> BoxFuture<'_, i32>;

    /// Runs another program in the same namespaces; it is killed when the session is dropped.
    fn exec(&self, spec: ExecSpec) -> BoxFuture<'_, Result<container::Process>>;
}
