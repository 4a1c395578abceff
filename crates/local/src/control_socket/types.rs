//! Requests and responses of the control socket: JSON with these field names.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tombolo_kube::manifest::Strictness;

pub use crate::cluster::apply::{Applied, Outcome};
pub use crate::network::diagnosis::Finding;
pub use crate::network::security_group::{PortRule, RuleView};
use crate::progress::Event;

/// Names, addresses and clusters of a runtime.
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
    /// Address of the xDS server inside the fabric.
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
    /// Load balancers on the host.
    pub load_balancers: Vec<LoadBalancer>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// The name.
    pub name: String,
    /// The range of pod addresses.
    pub pods: String,
    /// The range of cluster IPs.
    pub services: String,
    /// The name server.
    pub dns: Ipv4Addr,
}

/// A listener on the host that leads to a port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// The cluster.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// The port of the Service.
    pub port: u16,
    /// The address on the host.
    pub address: SocketAddr,
}

/// Workloads, pods and problems of a runtime.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Names, addresses and clusters.
    pub info: Info,
    /// Whether every workload is ready.
    pub ready: bool,
    /// Deployments and bare pods.
    pub workloads: Vec<Workload>,
    /// Pods with their processes.
    pub pods: Vec<PodView>,
    /// Mesh objects that are not in the control plane, with the reasons.
    pub mesh_problems: Vec<MeshProblem>,
    /// Flows between clusters that are refused.
    pub findings: Vec<Finding>,
    /// The latest events, oldest first.
    pub events: Vec<Event>,
}

/// A Deployment, or a pod without an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// The cluster.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// `deployment.apps/front`.
    pub object: String,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods wanted.
    pub total: u32,
    /// Whether every pod is of the newest revision and ready.
    pub complete: bool,
    /// The reason why it is not complete.
    pub waiting: Option<String>,
}

/// A pod with its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// The cluster.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// `Running`, `Terminating`, `CrashLoopBackOff` … as `kubectl get pods` has it.
    pub status: String,
    /// The pod IP.
    pub address: Option<Ipv4Addr>,
    /// Containers that are ready.
    pub ready: usize,
    /// Containers.
    pub containers: usize,
    /// The total restarts of its containers.
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
    /// The cluster.
    pub cluster: String,
    /// `virtualnode.appmesh.k8s.aws/front`.
    pub object: String,
    /// The namespace.
    pub namespace: String,
    /// The message of its condition.
    pub message: String,
}

/// Selects objects.
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
    /// The name that error messages show.
    pub name: String,
    /// The content.
    pub text: String,
}

/// Manifests for a cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Apply {
    /// The cluster; may be left out where there is only one.
    pub cluster: Option<String>,
    /// The files.
    pub sources: Vec<Source>,
    /// The treatment of unknown fields.
    #[serde(default)]
    pub validate: Strictness,
    /// The namespace of objects that name none.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Whether nothing is changed.
    #[serde(default)]
    pub dry_run: bool,
}

/// The outcome of `apply`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyReply {
    /// Objects, in the order in which they were applied.
    pub applied: Vec<Applied>,
    /// Parts that are not run as written, with file and line.
    pub warnings: Vec<String>,
}

/// Selects objects to delete.
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
    /// Overrides the pods' own grace period, in seconds; 0 kills at once.
    #[serde(default)]
    pub grace_seconds: Option<i64>,
}

/// A new number of replicas.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scale {
    /// The cluster; may be left out where there is only one.
    pub cluster: Option<String>,
    /// The namespace; `default` where absent.
    pub namespace: Option<String>,
    /// Name of the Deployment.
    pub name: String,
    /// `spec.replicas`.
    pub replicas: u32,
}

/// Selects a log.
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
    /// Whether the log is that of the run before the current one.
    #[serde(default)]
    pub previous: bool,
    /// Only this number of lines, from the end.
    pub tail: Option<usize>,
    /// Whether the stream goes on until the container ends.
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
    /// Whether standard input is a terminal that the program controls.
    #[serde(default)]
    pub terminal: bool,
}

/// The answer to a request that fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", std::iter::once(.message).chain(.problems).map(String::as_str).collect::<Vec<_>>().join("\n"))]
pub struct ErrorResponse {
    /// The problem, and a remedy where one exists.
    pub message: String,
    /// Details, one per line, with file and line where there is one.
    #[serde(default)]
    pub problems: Vec<String>,
}

impl ErrorResponse {
    /// An error without details.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            problems: Vec::new(),
        }
    }
}
