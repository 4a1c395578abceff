//! Clusters of Kubernetes.

use crate::skip;
use std::{
    collections::BTreeMap,
    env, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// Two clusters in one routed network, and the programs for them.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    directory: PathBuf,
    /// The first cluster.
    pub a: Cluster,
    /// The second.
    pub b: Cluster,
}

/// A cluster: its administrator's kubeconfig, and its addresses.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    facts: BTreeMap<String, String>,
}

/// The clusters of this run; `None` when there are none, which is said.
///
/// # Panics
/// There are none, and `CI` is `true`; or what describes them cannot be read.
pub fn kubernetes() -> Option<Kubernetes> {
    let Some(directory) = env::var_os("TOMBOLO_KUBERNETES").map(PathBuf::from) else {
        let why = env::var("TOMBOLO_KUBERNETES_SKIPPED");
        skip(&why.unwrap_or_else(|_| {
            "TOMBOLO_KUBERNETES is not set; `cargo xtask test` and `cargo xtask kubernetes env` set it".to_owned()
        }));
        return None;
    };
    if !directory.join("b").is_dir() {
        skip("this test needs two clusters: `cargo xtask kubernetes up`");
        return None;
    }
    Some(Kubernetes {
        a: Cluster::read(&directory.join("a")),
        b: Cluster::read(&directory.join("b")),
        directory,
    })
}

impl Kubernetes {
    /// kubectl, of the clusters' version.
    pub fn kubectl(&self) -> PathBuf {
        self.directory.join("bin/kubectl")
    }

    /// Helm.
    pub fn helm(&self) -> PathBuf {
        self.directory.join("bin/helm")
    }

    /// `cargo xtask` without cargo: `kubernetes deny PORT`, `kubernetes forward ZONE=ADDRESS:PORT` and so on.
    pub fn xtask(&self) -> PathBuf {
        self.directory.join("bin/xtask")
    }

    /// The address of a load balancer, by the name that a Service's status has.
    pub fn address_of(&self, host: &str) -> Option<Ipv4Addr> {
        let hosts = fs::read_to_string(self.directory.join("names/hosts")).ok()?;
        hosts.lines().find_map(|line| {
            let (address, name) = line.split_once(' ')?;
            (name == host).then(|| address.parse().ok())?
        })
    }
}

impl Cluster {
    fn read(folder: &Path) -> Self {
        let path = folder.join("addresses");
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let facts = text.lines().filter_map(|line| line.split_once('='));
        Self {
            kubeconfig: folder.join("kubeconfig"),
            facts: facts
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// The administrator's kubeconfig. It has one context.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The context.
    pub fn context(&self) -> &str {
        self.fact("context")
    }

    /// This machine, as pods reach it: what a test listens on.
    pub fn machine(&self) -> Ipv4Addr {
        self.address("machine")
    }

    /// The node.
    pub fn node(&self) -> Ipv4Addr {
        self.address("node")
    }

    /// The cluster's DNS.
    pub fn dns(&self) -> Ipv4Addr {
        self.address("dns")
    }

    /// The range of the pods.
    pub fn pods(&self) -> &str {
        self.fact("pods")
    }

    fn address(&self, name: &str) -> Ipv4Addr {
        let value = self.fact(name);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no address: {value}"))
    }

    fn fact(&self, name: &str) -> &str {
        let value = self.facts.get(name);
        value.unwrap_or_else(|| panic!("the cluster does not say its {name}"))
    }
}
