//! The network between clusters: addresses, rules, cluster DNS, and the diagnosis of refused calls.

pub(crate) mod diagnosis;
pub(crate) mod dns_zone;
pub(crate) mod ip_allocation;
pub(crate) mod port_set;
pub(crate) mod security_group;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tombolo_controller::{Changes, Desired};
use tombolo_dns::Clusters;
use tombolo_linux::fabric::{
    Allowed, ClusterPolicy, ClusterRange, FabricRules, Protocol, ServiceRule,
};
use tombolo_telemetry::ErrorChain;

use crate::cluster::service_view::{ServiceView, services};
use crate::cluster::{Cluster, Kind};
use crate::container_runtime::ContainerRuntime;
use diagnosis::{DeniedFlow, Finding, expected_flows, findings};
use port_set::PortSet;
use security_group::{NetworkPolicy, PortRule, RuleView};

/// Interval at which refused packets are counted, and at which unchanged rules are applied to the kernel again.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// The period that findings cover.
const FINDING_PERIOD: Duration = Duration::from_secs(60);

/// Refused packets by direction and port since the start.
type Counts = BTreeMap<DeniedFlow, u64>;

/// The network of all clusters.
pub(crate) struct Network {
    container_runtime: Arc<dyn ContainerRuntime>,
    clusters: Vec<Arc<Cluster>>,
    /// The resources that the clusters desire in the App Mesh API.
    desired: watch::Receiver<Arc<Desired>>,
    /// The zone that the clusters' DNS answers from.
    dns: Arc<Clusters>,
    /// Serializes the application of rules, so that the newest rules are applied last.
    publishing: tokio::sync::Mutex<()>,
    policy: Mutex<NetworkPolicy>,
    policy_changed: Notify,
    /// Counts of the last minute, oldest first.
    samples: Mutex<VecDeque<(Instant, Counts)>>,
}

impl Network {
    /// A network whose rules are not set yet.
    pub(crate) fn new(
        container_runtime: Arc<dyn ContainerRuntime>,
        clusters: Vec<Arc<Cluster>>,
        desired: watch::Receiver<Arc<Desired>>,
        dns: Arc<Clusters>,
        policy: NetworkPolicy,
    ) -> Self {
        Self {
            container_runtime,
            clusters,
            desired,
            dns,
            publishing: tokio::sync::Mutex::default(),
            policy: Mutex::new(policy),
            policy_changed: Notify::new(),
            samples: Mutex::default(),
        }
    }

    /// Keeps the kernel's rules and cluster DNS up to date, until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut changes = Changes::of(&self.clusters);
        let mut sample = tokio::time::interval(SAMPLE_INTERVAL);
        loop {
            self.publish().await;
            tokio::select! {
                () = changes.next() => {}
                () = self.policy_changed.notified() => {}
                _ = sample.tick() => self.sample().await,
            }
        }
    }

    /// Applies the rules and DNS records that follow from the current objects.
    pub(crate) async fn publish(&self) {
        let _turn = self.publishing.lock().await;
        let rules = self.compute();
        let runtime = self.container_runtime.clone();
        if let Err(error) = blocking(move || runtime.apply_rules(&rules)).await {
            tracing::error!(error = %ErrorChain(&error), "network rules not applied");
        }
    }

    /// Replaces the DNS records, and computes the rules.
    fn compute(&self) -> FabricRules {
        let mut rules = FabricRules::default();
        let mut zones = Vec::new();
        for cluster in &self.clusters {
            let services = cluster.objects.read(services);
            zones.push(dns_zone::zone(cluster, &services));
            let services = services.iter();
            rules
                .services
                .extend(services.flat_map(|service| service_rules(cluster, service)));
        }
        self.dns.replace(&zones);
        let policy = self.policy.lock();
        rules.policies = self.map_directions(|from, to, ports| {
            let open = policy.open(&from.name, &to.name, ports);
            ClusterPolicy {
                from: range(from),
                to: range(to),
                allowed: match open == PortSet::all() {
                    true => Allowed::All,
                    false => Allowed::Ports(open.port_ranges()),
                },
            }
        });
        rules
    }

    /// Calls a function with each ordered pair of clusters, caller first, and the ports on which the mesh of the
    /// called cluster listens.
    fn map_directions<T>(&self, mut map: impl FnMut(&Cluster, &Cluster, &PortSet) -> T) -> Vec<T> {
        let listening = self.clusters.iter().map(|cluster| listening(cluster));
        let listening: Vec<PortSet> = listening.collect();
        let mut results = Vec::new();
        for (from, caller) in self.clusters.iter().enumerate() {
            for (to, called) in self.clusters.iter().enumerate() {
                if from != to {
                    results.push(map(caller, called, &listening[to]));
                }
            }
        }
        results
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
        let mut samples = self.samples.lock();
        samples.push_back((now, counts));
        // One sample older than the window stays: it is the baseline of the window.
        while samples
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= FINDING_PERIOD)
        {
            samples.pop_front();
        }
    }

    async fn counts(&self) -> tombolo_linux::Result<Counts> {
        let mut counts = Counts::new();
        let runtime = self.container_runtime.clone();
        for refusal in blocking(move || runtime.refusals()).await? {
            let flow = DeniedFlow {
                from: refusal.from,
                to: refusal.to,
                port: refusal.port,
            };
            *counts.entry(flow).or_default() += refusal.packets;
        }
        Ok(counts)
    }

    /// Packets refused in the last minute.
    async fn recently_refused(&self) -> Counts {
        let mut counts = self.counts().await.unwrap_or_default();
        if let Some((_, before)) = self.samples.lock().front() {
            for (flow, count) in &mut counts {
                *count = count.saturating_sub(before.get(flow).copied().unwrap_or(0));
            }
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// Problems between clusters, each with the command that fixes it.
    pub(crate) async fn diagnose(&self) -> Vec<Finding> {
        let refused = self.recently_refused().await;
        let flows = expected_flows(&self.desired.borrow());
        let open = |from: &str, to: &str, port| {
            let mut clusters = self.clusters.iter();
            let called = clusters.find(|cluster| cluster.name == to);
            called.is_none_or(|called| {
                let ports = listening(called);
                self.policy.lock().open(from, to, &ports).contains(port)
            })
        };
        findings(&self.names(), &flows, open, &refused)
    }

    fn names(&self) -> Vec<&str> {
        self.clusters.iter().map(|cluster| &*cluster.name).collect()
    }

    /// Every direction with its open ports.
    pub(crate) fn list(&self) -> Vec<RuleView> {
        let policy = self.policy.lock();
        self.map_directions(|from, to, ports| policy.view(&from.name, &to.name, ports))
    }

    /// Opens or closes the ports of a rule, and applies the result.
    ///
    /// # Errors
    /// A cluster does not exist, or both are the same.
    pub(crate) async fn change(
        &self,
        rule: &PortRule,
        change: fn(&mut NetworkPolicy, &PortRule),
    ) -> Result<(), RuleError> {
        check_rule(rule, &self.names())?;
        change(&mut self.policy.lock(), rule);
        self.publish().await;
        self.policy_changed.notify_one();
        Ok(())
    }
}

/// A rule that does not fit the clusters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    /// It names a cluster that does not exist.
    #[error("there is no cluster {name}; there are {known}")]
    UnknownCluster {
        /// The name.
        name: String,
        /// The existing clusters, separated by commas.
        known: String,
    },
    /// Both clusters are the same.
    #[error("rules are between clusters; inside of {0} everything is open")]
    OneCluster(String),
}

/// Checks that a rule names two different clusters that exist.
///
/// # Errors
/// One does not exist, or both are the same.
pub(crate) fn check_rule(rule: &PortRule, clusters: &[&str]) -> Result<(), RuleError> {
    for name in [&rule.from, &rule.to] {
        if !clusters.contains(&name.as_str()) {
            return Err(RuleError::UnknownCluster {
                name: name.clone(),
                known: clusters.join(", "),
            });
        }
    }
    if rule.from == rule.to {
        return Err(RuleError::OneCluster(rule.from.clone()));
    }
    Ok(())
}

/// Runs blocking system calls on a thread of the blocking pool.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The work is only cancelled by a runtime that shuts down, which cancels the waiting task too.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The ports on which virtual nodes and gateways of a cluster listen.
fn listening(cluster: &Cluster) -> PortSet {
    let mut ports = PortSet::default();
    cluster.objects.read(|objects| {
        let members = [Kind::VirtualNode, Kind::VirtualGateway].map(|kind| objects.of_kind(kind));
        for object in members.into_iter().flatten() {
            let listeners = object.body.pointer("/spec/listeners");
            for listener in listeners
                .and_then(|list| list.as_array())
                .into_iter()
                .flatten()
            {
                let port = listener.pointer("/portMapping/port");
                let port = port.and_then(|port| u16::try_from(port.as_u64()?).ok());
                ports.extend(port.map(|port| port..=port));
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

#[cfg(test)]
mod tests;
