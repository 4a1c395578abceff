//! The network between clusters: addresses, what may pass, what names mean, and why something did not arrive.

pub mod address;
pub mod diagnosis;
pub mod names;
pub mod port_set;
pub mod rules;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tombolo_controller::{Changes, Desired};
use tombolo_dns::Clusters;
use tombolo_linux::fabric::{
    Allowed, ClusterPolicy, ClusterRange, FabricRules, Protocol, ServiceRule,
};
use tombolo_telemetry::ErrorChain;

use crate::cluster::endpoint::{ServiceView, services};
use crate::cluster::{Cluster, Kind};
use crate::machine::Machine;
use diagnosis::{Finding, Refused, findings, ways};
use port_set::PortSet;
pub use rules::Policy;
use rules::{Opening, RuleView, Rules};

/// How often refused packets are counted, and how often the kernel's rules are set although nothing changed.
const SAMPLE: Duration = Duration::from_secs(5);

/// The time of which findings speak.
const WINDOW: Duration = Duration::from_secs(60);

/// Refused packets by direction and port, since the start.
type Counts = BTreeMap<Refused, u64>;

/// The network of all clusters.
pub struct Network {
    machine: Arc<dyn Machine>,
    clusters: Vec<Arc<Cluster>>,
    /// What the clusters ask the mesh API for.
    desired: watch::Receiver<Arc<Desired>>,
    names: Arc<Clusters>,
    /// Rules reach the kernel one set after the other, so that the newest is the last.
    publishing: tokio::sync::Mutex<()>,
    /// Guards what people said about the ways between clusters.
    rules: Mutex<Rules>,
    said: Notify,
    /// Guards the counts of the last minute, oldest first.
    samples: Mutex<VecDeque<(Instant, Counts)>>,
}

impl Network {
    /// A network that has done nothing yet. `desired` is what the clusters ask the mesh API for, `names` the zone that
    /// the clusters' DNS answers from.
    pub fn new(
        machine: Arc<dyn Machine>,
        clusters: Vec<Arc<Cluster>>,
        desired: watch::Receiver<Arc<Desired>>,
        names: Arc<Clusters>,
        rules: Rules,
    ) -> Self {
        let (rules, said, samples) = (Mutex::new(rules), Notify::new(), Mutex::default());
        Self {
            machine,
            clusters,
            desired,
            names,
            publishing: tokio::sync::Mutex::default(),
            rules,
            said,
            samples,
        }
    }

    fn rules_now(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<(Instant, Counts)>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the kernel's rules and the names up to date, until dropped.
    pub async fn run(self: Arc<Self>) {
        let mut changes = Changes::of(&self.clusters);
        let mut sample = tokio::time::interval(SAMPLE);
        loop {
            self.publish().await;
            tokio::select! {
                () = changes.next() => {}
                () = self.said.notified() => {}
                _ = sample.tick() => self.sample().await,
            }
        }
    }

    /// Sets the rules and names that follow from the objects of this moment.
    pub async fn publish(&self) {
        let _turn = self.publishing.lock().await;
        let rules = self.compute();
        let machine = self.machine.clone();
        if let Err(error) = blocking(move || machine.apply(&rules)).await {
            tracing::error!(error = %ErrorChain(&error), "network rules not applied");
        }
    }

    /// Sets the names, and computes the rules that go with them.
    fn compute(&self) -> FabricRules {
        let services: Vec<Vec<ServiceView>> = self
            .clusters
            .iter()
            .map(|cluster| cluster.objects.read(services))
            .collect();
        let pairs = self.clusters.iter().zip(&services);
        self.names.replace(
            &pairs
                .map(|(cluster, services)| names::cluster(cluster, services))
                .collect::<Vec<_>>(),
        );
        let mut rules = FabricRules::default();
        for (cluster, services) in self.clusters.iter().zip(&services) {
            for service in services {
                rules.services.extend(service_rules(cluster, service));
            }
        }
        let listening: Vec<PortSet> = self
            .clusters
            .iter()
            .map(|cluster| listening(cluster))
            .collect();
        let said = self.rules_now();
        for (from, to, ports) in self.directions(&listening) {
            let open = said.open(&from.name, &to.name, ports);
            let allowed = if open == PortSet::all() {
                Allowed::All
            } else {
                Allowed::Ports(open.port_ranges())
            };
            rules.policies.push(ClusterPolicy {
                from: range(from),
                to: range(to),
                allowed,
            });
        }
        rules
    }

    fn directions<'a>(
        &'a self,
        listening: &'a [PortSet],
    ) -> impl Iterator<Item = (&'a Cluster, &'a Cluster, &'a PortSet)> {
        self.clusters
            .iter()
            .enumerate()
            .flat_map(move |(from, caller)| {
                let others = self
                    .clusters
                    .iter()
                    .zip(listening)
                    .enumerate()
                    .filter(move |(to, _)| *to != from);
                others.map(move |(_, (called, ports))| (caller.as_ref(), called.as_ref(), ports))
            })
    }

    async fn sample(&self) {
        let counts = match self.counts().await {
            Ok(counts) => counts,
            Err(error) => {
                tracing::debug!(error = %ErrorChain(&error), "refused packets not counted");
                return;
            }
        };
        let now = Instant::now();
        let mut samples = self.samples();
        samples.push_back((now, counts));
        // One sample older than the window stays: it is what the window is measured from.
        while samples
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
        {
            samples.pop_front();
        }
    }

    async fn counts(&self) -> tombolo_linux::Result<Counts> {
        let mut counts = Counts::new();
        let machine = self.machine.clone();
        for refusal in blocking(move || machine.refusals()).await? {
            *counts
                .entry(Refused {
                    from: refusal.from,
                    to: refusal.to,
                    port: refusal.port,
                })
                .or_default() += refusal.packets;
        }
        Ok(counts)
    }

    /// Packets refused in the last minute.
    async fn refused_lately(&self) -> Counts {
        let Ok(mut counts) = self.counts().await else {
            return Counts::new();
        };
        let samples = self.samples();
        if let Some((_, before)) = samples.front() {
            for (key, count) in &mut counts {
                *count = count.saturating_sub(before.get(key).copied().unwrap_or(0));
            }
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// What is wrong between clusters, with what to type about it.
    pub async fn diagnose(&self) -> Vec<Finding> {
        let refused = self.refused_lately().await;
        let desired = self.desired.borrow().clone();
        let names: Vec<String> = self
            .clusters
            .iter()
            .map(|cluster| cluster.name.clone())
            .collect();
        let open = |from: &str, to: &str, port| {
            let called = self.clusters.iter().find(|cluster| cluster.name == to);
            called.is_none_or(|called| {
                self.rules_now()
                    .open(from, to, &listening(called))
                    .contains(port)
            })
        };
        findings(&names, &ways(&desired), open, &refused)
    }

    /// Every direction with what is open in it.
    pub fn list(&self) -> Vec<RuleView> {
        let listening: Vec<PortSet> = self
            .clusters
            .iter()
            .map(|cluster| listening(cluster))
            .collect();
        let said = self.rules_now();
        self.directions(&listening)
            .map(|(from, to, ports)| said.view(&from.name, &to.name, ports))
            .collect()
    }

    /// Opens ports.
    ///
    /// # Errors
    /// When a cluster does not exist.
    pub async fn allow(&self, opening: &Opening) -> Result<(), RuleError> {
        self.change(opening, Rules::allow).await
    }

    /// Closes ports, for good.
    ///
    /// # Errors
    /// When a cluster does not exist.
    pub async fn deny(&self, opening: &Opening) -> Result<(), RuleError> {
        self.change(opening, Rules::deny).await
    }

    async fn change(
        &self,
        opening: &Opening,
        change: fn(&mut Rules, &Opening),
    ) -> Result<(), RuleError> {
        let names: Vec<&str> = self
            .clusters
            .iter()
            .map(|cluster| cluster.name.as_str())
            .collect();
        check_opening(opening, &names)?;
        change(&mut self.rules_now(), opening);
        self.publish().await;
        self.said.notify_one();
        Ok(())
    }
}

/// A rule that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It names a cluster that does not exist.
    #[error("there is no cluster {name}; there are {known}")]
    UnknownCluster {
        /// The name.
        name: String,
        /// The clusters that exist, separated by commas.
        known: String,
    },
    /// It is about one cluster alone.
    #[error("rules are between clusters; inside of {0} everything is open")]
    OneCluster(String),
}

/// Whether a rule speaks of two different clusters that exist.
///
/// # Errors
/// It names one that does not exist, or the same one twice.
pub fn check_opening(opening: &Opening, clusters: &[&str]) -> Result<(), RuleError> {
    for name in [&opening.from, &opening.to] {
        if !clusters.contains(&name.as_str()) {
            return Err(RuleError::UnknownCluster {
                name: name.clone(),
                known: clusters.join(", "),
            });
        }
    }
    if opening.from == opening.to {
        return Err(RuleError::OneCluster(opening.from.clone()));
    }
    Ok(())
}

/// Runs system calls that may take a while on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that shuts down cancels such work, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The ports on which virtual nodes and gateways of a cluster listen.
pub fn listening(cluster: &Cluster) -> PortSet {
    let mut ports = PortSet::default();
    cluster.objects.read(|objects| {
        let members = objects
            .of_kind(Kind::VirtualNode)
            .chain(objects.of_kind(Kind::VirtualGateway));
        for listener in members.flat_map(|object| {
            object
                .body
                .pointer("/spec/listeners")
                .and_then(|list| list.as_array())
                .into_iter()
                .flatten()
        }) {
            let port = listener
                .pointer("/portMapping/port")
                .and_then(serde_json::Value::as_u64);
            if let Some(port) = port.and_then(|port| u16::try_from(port).ok()) {
                ports.insert(port..=port);
            }
        }
    });
    ports
}

fn range(cluster: &Cluster) -> ClusterRange {
    ClusterRange {
        name: cluster.name.clone(),
        range: cluster.range,
    }
}

fn service_rules(cluster: &Cluster, service: &ServiceView) -> Vec<ServiceRule> {
    let Some(vip) = service.address else {
        return Vec::new();
    };
    let rules = service.ports.iter().map(|port| ServiceRule {
        sources: vec![cluster.range],
        vip,
        protocol: if port.udp {
            Protocol::Udp
        } else {
            Protocol::Tcp
        },
        port: port.port,
        endpoints: port.targets.clone(),
    });
    rules.collect()
}

/// The range of a cluster as DNS tells its clients apart.
fn dns_range(cluster: &Cluster) -> tombolo_dns::cluster::IpNet {
    let address = IpAddr::V4(cluster.range.address());
    // Invariant: the prefix of a range is at most 32.
    tombolo_dns::cluster::IpNet::new_assert(address, cluster.range.prefix())
}

#[cfg(test)]
mod tests;
