//! What is said over the control socket. JSON, field names as here.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tombolo_kube::manifest::Strictness;

pub use crate::cluster::apply::{Applied, Outcome};
pub use crate::network::diagnosis::Finding;
pub use crate::network::rules::{Opening, RuleView};
use crate::progress::Event;

/// Who and where a runtime is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The name given with `--name`.
    pub name: String,
    /// The account in ARNs.
    pub account: String,
    /// The region in ARNs.
    pub region: String,
    /// Endpoint of the AWS APIs, for users of the host.
    pub api: String,
    /// Where proxies find their configuration, inside of the fabric.
    pub xds: String,
    /// `tombolo` or `envoy`.
    pub proxy: String,
    /// `root` or `rootless`.
    pub mode: String,
    /// The range of all clusters.
    pub vpc: String,
    /// The directory of this runtime's sockets.
    pub run_dir: String,
    /// Process id of the control plane, as the host sees it. Absent while it restarts.
    pub server_pid: Option<u32>,
    /// The clusters.
    pub clusters: Vec<ClusterInfo>,
    /// Ways in from the host.
    pub load_balancers: Vec<LoadBalancer>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// Its name.
    pub name: String,
    /// Addresses of its pods.
    pub pods: String,
    /// Addresses of its Services.
    pub services: String,
    /// Its DNS.
    pub dns: Ipv4Addr,
}

/// An address of the host that leads to a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// The Service's cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// Where the host reaches it.
    pub address: SocketAddr,
}

/// How it goes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Who and where.
    pub info: Info,
    /// Whether every workload is ready.
    pub ready: bool,
    /// Deployments and bare pods.
    pub workloads: Vec<Workload>,
    /// Pods with their processes.
    pub pods: Vec<PodView>,
    /// Mesh objects that did not reach the control plane, and why.
    pub mesh_problems: Vec<MeshProblem>,
    /// What is wrong in the network, and what to type about it.
    pub findings: Vec<Finding>,
    /// What happened lately, oldest first.
    pub events: Vec<Event>,
}

/// A Deployment or a pod without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Its cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// `deployment.apps/front`.
    pub object: String,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods wanted.
    pub total: u32,
    /// Whether every pod is of the newest revision and ready.
    pub complete: bool,
    /// What it waits for.
    pub waiting: Option<String>,
}

/// A pod with its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Its cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Running`, `Terminating`, `CrashLoopBackOff` … as `kubectl get pods` has it.
    pub status: String,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// Containers that are ready.
    pub ready: usize,
    /// Containers.
    pub containers: usize,
    /// How often containers were started again.
    pub restarts: i32,
    /// Running containers and the process ids that the host sees.
    pub processes: Vec<ProcessView>,
}

/// A running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Name of the container.
    pub container: String,
    /// Process id as the host sees it; `kill -9` on it ends the container.
    pub pid: u32,
}

/// A mesh object with a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshProblem {
    /// Its cluster.
    pub cluster: String,
    /// `virtualnode.appmesh.k8s.aws/front`.
    pub object: String,
    /// Its namespace.
    pub namespace: String,
    /// What is wrong.
    pub message: String,
}

/// Which objects.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Query {
    /// One cluster; all where absent.
    pub cluster: Option<String>,
    /// A kind as people type it (`po`, `deployments.apps`), several with commas, or `all`.
    pub kind: String,
    /// One namespace; all where absent.
    pub namespace: Option<String>,
    /// One object.
    pub name: Option<String>,
    /// Labels that must match: `app=web,tier!=db`.
    pub selector: Option<String>,
}

/// Objects of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterObjects {
    /// The cluster.
    pub cluster: String,
    /// Whole objects, as the API server would show them.
    pub items: Vec<Value>,
}

/// A file of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name, as error messages shall show it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Manifests for a cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Apply {
    /// The cluster; may be left out where there is only one.
    pub cluster: Option<String>,
    /// The files.
    pub sources: Vec<Source>,
    /// What happens to unknown fields.
    #[serde(default)]
    pub validate: Strictness,
    /// The namespace of objects that name none.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyReply {
    /// Objects, in the order in which they were applied.
    pub applied: Vec<Applied>,
    /// What is odd but does no harm, with file and line.
    pub warnings: Vec<String>,
}

/// What to delete.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Delete {
    /// The cluster; may be left out where there is only one.
    pub cluster: Option<String>,
    /// A kind as people type it; ignored with `sources`.
    #[serde(default)]
    pub kind: String,
    /// The namespace; `default` where absent.
    #[serde(default)]
    pub namespace: Option<String>,
    /// One object.
    #[serde(default)]
    pub name: Option<String>,
    /// All objects with these labels.
    #[serde(default)]
    pub selector: Option<String>,
    /// All objects of these files.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Instead of the pod's own grace period; 0 kills.
    #[serde(default)]
    pub grace_seconds: Option<i64>,
}

/// A new number of pods.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scale {
    /// The cluster; may be left out where there is only one.
    pub cluster: Option<String>,
    /// The namespace; `default` where absent.
    pub namespace: Option<String>,
    /// Name of the Deployment.
    pub name: String,
    /// How many.
    pub replicas: u32,
}

/// Which log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// The cluster; may be left out where only one has the pod.
    pub cluster: Option<String>,
    /// The namespace; `default` where absent.
    pub namespace: Option<String>,
    /// A pod, or `deployment/NAME` for one of its pods.
    pub pod: String,
    /// The container; the first that is not the proxy where absent.
    pub container: Option<String>,
    /// The run before the current one.
    #[serde(default)]
    pub previous: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Go on until the container ends.
    #[serde(default)]
    pub follow: bool,
}

/// A program to run in a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExecQuery {
    /// The cluster; may be left out where only one has the pod.
    pub cluster: Option<String>,
    /// The namespace; `default` where absent.
    pub namespace: Option<String>,
    /// A pod, or `deployment/NAME` for one of its pods.
    pub pod: String,
    /// The container; the first that is not the proxy where absent.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether standard input is a terminal that the program shall control.
    #[serde(default)]
    pub terminal: bool,
}

/// Why something was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong, and what to do.
    pub message: String,
    /// Details, one per line, with file and line where there is one.
    #[serde(default)]
    pub problems: Vec<String>,
}
