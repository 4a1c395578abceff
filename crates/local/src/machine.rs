//! What the runtime needs from the machine below it: pods as places with an address, and processes in them.
//!
//! A trait, because two machines exist: Linux with its namespaces ([`linux`]), and a fake one in which tests
//! decide when processes end.

#[cfg(test)]
pub(crate) mod fake;
pub mod linux;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::net::TcpStream;

pub use tombolo_linux::container::{FileContent, Privileges};
use tombolo_linux::fabric::{FabricRules, Refusal};

/// A machine that can hold pods. Its methods block for as long as system calls do; those of pods and processes do not.
pub trait Machine: Send + Sync + 'static {
    /// Makes the place of a pod: its network with its address.
    fn open(&self, name: &str, address: Ipv4Addr) -> tombolo_linux::Result<Arc<dyn Place>>;
    /// Makes these rules the rules of the network, all at once; the same rules again cost nothing.
    fn apply(&self, rules: &FabricRules) -> tombolo_linux::Result<()>;
    /// Packets that the rules refused since the start.
    fn refusals(&self) -> tombolo_linux::Result<Vec<Refusal>>;
}

/// The place of one pod. Dropped places are gone, with all that runs in them.
pub trait Place: Send + Sync {
    /// Starts a process.
    fn start(&self, spec: ProcessSpec) -> BoxFuture<'_, Result<Arc<dyn Process>, StartError>>;
    /// Connects from inside of the pod, as a probe does.
    fn connect(&self, address: SocketAddrV4) -> BoxFuture<'_, std::io::Result<TcpStream>>;
    /// Gives up the pod's network.
    fn close(&self);
}

/// A running container.
pub trait Process: Send + Sync {
    /// Its process id in the runtime's pid namespace.
    fn id(&self) -> u32;
    /// Asks it to end (SIGTERM).
    fn terminate(&self);
    /// Ends it and all that it started (SIGKILL).
    fn kill(&self);
    /// Its exit code, 128 + signal when a signal ended it. Any number of waiters.
    fn wait(&self) -> BoxFuture<'_, i32>;
    /// Runs a further program beside it, in the same namespaces.
    fn exec(&self, spec: ExecSpec) -> BoxFuture<'_, Result<Arc<dyn Executed>, StartError>>;
}

/// A program that was started in a container.
pub trait Executed: Send + Sync {
    /// Its exit code.
    fn wait(&self) -> BoxFuture<'_, i32>;
    /// Sends it a signal by number; unknown numbers are ignored.
    fn signal(&self, number: i32);
    /// Ends it at once.
    fn kill(&self);
}

/// Why a process did not start.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// What failed and what to do about it.
    pub message: String,
    /// The exit code that says so, as shells have it: 127 for a program that does not exist, 126 for any other.
    pub code: i32,
}

/// A process to start: a container with everything resolved.
#[derive(Debug, Default)]
pub struct ProcessSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
    /// Name of the pod.
    pub hostname: String,
    /// User and group id, where the machine maps more than one.
    pub user: Option<(u32, u32)>,
    /// What it may do beyond the rights of its user.
    pub privileges: Privileges,
    /// Contents of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Contents of `/etc/hosts`.
    pub hosts: String,
    /// Volumes.
    pub mounts: Vec<MountSpec>,
    /// Where its output goes.
    pub stdout: Option<OwnedFd>,
    /// Where its complaints go.
    pub stderr: Option<OwnedFd>,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// Absolute path in the container.
    pub at: PathBuf,
    /// What is seen there.
    pub source: VolumeSource,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// Files by relative path: a ConfigMap, a Secret, the downward API.
    Files(BTreeMap<PathBuf, FileContent>),
    /// One file of those, mounted alone.
    File(FileContent),
    /// A directory or file of the machine.
    Path(PathBuf),
    /// An empty private directory that ends with the container.
    Scratch,
}

/// A further program in a container.
#[derive(Debug, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
    /// User and group id.
    pub user: Option<(u32, u32)>,
    /// Standard input, output and error.
    pub stdio: [Option<OwnedFd>; 3],
    /// Whether standard input is a terminal that the program controls.
    pub terminal: bool,
}
