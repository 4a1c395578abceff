//! One worker's part of a cluster, as Envoy's `ThreadLocalCluster`: the load balancer, and the connections to each host.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection_pool::Pool;
use super::load_balancer::Balancer;
use crate::cluster_runtime::{ClusterRuntime, Host};
use crate::config::cluster::Discovery;
use crate::descriptor_budget::Descriptors;
use crate::generation::LocalArc;
use crate::metrics::ClusterStats;
use crate::original_dst::ListenerAddresses;

/// Maximum hosts of an `ORIGINAL_DST` cluster per worker.
const MAX_ORIGINAL_DST_HOSTS: usize = 4096;
/// Time for which an `ORIGINAL_DST` host without connections is kept.
const ORIGINAL_DST_HOST_TTL: Duration = Duration::from_secs(60);

/// A host with this worker's connections to it.
pub(crate) struct Upstream {
    pub(crate) host: Arc<Host>,
    pub(crate) pool: Pool,
    /// Requests in flight from this worker.
    pub(crate) active: Cell<u32>,
    used: Cell<Instant>,
}

impl Upstream {
    pub(super) fn new(host: Arc<Host>) -> Rc<Self> {
        Rc::new(Self {
            host,
            pool: Pool::default(),
            active: Cell::new(0),
            used: Cell::new(Instant::now()),
        })
    }
}

/// Settings and resources that all clusters of one worker share.
#[derive(Clone)]
pub(crate) struct ClusterContext {
    /// `SO_MARK` of upstream sockets, unless the cluster sets its own.
    pub(crate) mark: Option<u32>,
    pub(crate) listener_addresses: Rc<ListenerAddresses>,
    pub(crate) descriptors: Arc<Descriptors>,
}

pub(crate) struct ThreadLocalCluster {
    runtime: RefCell<LocalArc<ClusterRuntime>>,
    pub(crate) stats: Arc<ClusterStats>,
    balancer: RefCell<Balancer>,
    upstreams: RefCell<HashMap<SocketAddr, Rc<Upstream>>>,
    pub(super) context: ClusterContext,
}

impl ThreadLocalCluster {
    pub(crate) fn new(
        runtime: Arc<ClusterRuntime>,
        stats: Arc<ClusterStats>,
        context: ClusterContext,
    ) -> Rc<Self> {
        let cluster = Self {
            runtime: RefCell::new(LocalArc::new(runtime)),
            stats,
            balancer: RefCell::default(),
            upstreams: RefCell::default(),
            context,
        };
        cluster.rebuild();
        Rc::new(cluster)
    }

    pub(crate) fn runtime(&self) -> LocalArc<ClusterRuntime> {
        self.runtime.borrow().clone()
    }

    pub(crate) fn mark(&self) -> Option<u32> {
        self.runtime.borrow().config.mark.or(self.context.mark)
    }

    /// Adopts new membership. A changed definition (timeouts, protocol, limits) starts with new connections; requests
    /// in flight keep the objects that they hold.
    pub(crate) fn adopt(&self, runtime: Arc<ClusterRuntime>) {
        let redefined = {
            let current = self.runtime.borrow();
            if Arc::ptr_eq(&current, &runtime) {
                return;
            }
            !Arc::ptr_eq(&current.config, &runtime.config)
        };
        if redefined {
            self.close();
        }
        *self.runtime.borrow_mut() = LocalArc::new(runtime);
        self.stats.membership_change.inc();
        self.rebuild();
    }

    /// Closes idle connections; those in use close after their request.
    pub(crate) fn close(&self) {
        for (_, upstream) in self.upstreams.borrow_mut().drain() {
            upstream.pool.retire();
        }
        *self.balancer.borrow_mut() = Balancer::default();
    }

    fn rebuild(&self) {
        let runtime = self.runtime.borrow();
        if matches!(runtime.config.discovery, Discovery::OriginalDst { .. }) {
            return;
        }
        let mut upstreams = self.upstreams.borrow_mut();
        let mut next = HashMap::with_capacity(runtime.members.list.len());
        for member in &runtime.members.list {
            let address = member.host.address;
            let known = upstreams
                .remove(&address)
                .filter(|known| Arc::ptr_eq(&known.host, &member.host));
            next.entry(address)
                .or_insert_with(|| known.unwrap_or_else(|| Upstream::new(member.host.clone())));
        }
        for (_, removed) in upstreams.drain() {
            removed.pool.retire();
        }
        *upstreams = next;
        *self.balancer.borrow_mut() = Balancer::build(&runtime, &upstreams);
    }

    /// Picks the host for one request. Hosts in `avoid` are skipped if another one is found within a few picks.
    pub(crate) fn pick(
        &self,
        original_dst: Option<SocketAddr>,
        avoid: &[Arc<Host>],
        attempts: u32,
    ) -> Option<Rc<Upstream>> {
        let (original, epoch) = {
            let runtime = self.runtime.borrow();
            match runtime.config.discovery {
                Discovery::OriginalDst { port_override } => (Some(port_override), 0),
                _ => (None, runtime.state.epoch()),
            }
        };
        if let Some(port_override) = original {
            return self.original_dst_host(original_dst?, port_override);
        }
        if self.balancer.borrow().epoch() != epoch {
            self.rebuild();
        }
        let runtime = self.runtime.borrow();
        let mut balancer = self.balancer.borrow_mut();
        let mut picked = balancer.pick(runtime.config.policy, &self.stats)?;
        let mut spent = 0;
        while spent < attempts && avoid.contains(&picked.host) {
            spent += 1;
            picked = balancer.pick(runtime.config.policy, &self.stats)?;
        }
        Some(picked)
    }

    fn original_dst_host(
        &self,
        mut address: SocketAddr,
        port_override: Option<u16>,
    ) -> Option<Rc<Upstream>> {
        if let Some(port) = port_override {
            address.set_port(port);
        }
        if self.context.listener_addresses.contains_address(address) {
            self.stats.original_dst_host_invalid.inc();
            tracing::debug!(%address, "the original destination is a listener of this proxy; it is not dialled");
            return None;
        }
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some(known) = upstreams.get(&address) {
            known.used.set(Instant::now());
            return Some(known.clone());
        }
        if upstreams.len() >= MAX_ORIGINAL_DST_HOSTS {
            return None;
        }
        let upstream = Upstream::new(Arc::new(Host::new(address, "".into())));
        upstreams.insert(address, upstream.clone());
        Some(upstream)
    }

    /// Periodic housekeeping: closes idle connections and removes unused hosts of `ORIGINAL_DST` clusters.
    pub(crate) fn maintain(&self, now: Instant) {
        let runtime = self.runtime();
        let mut upstreams = self.upstreams.borrow_mut();
        for upstream in upstreams.values() {
            let closed = upstream.pool.maintain(now, runtime.config.idle_timeout);
            self.stats.upstream_cx_idle_timeout.add(closed);
        }
        if matches!(runtime.config.discovery, Discovery::OriginalDst { .. }) {
            upstreams.retain(|_, upstream| {
                upstream.active.get() > 0
                    || upstream.pool.connections() > 0
                    || now.duration_since(upstream.used.get()) < ORIGINAL_DST_HOST_TTL
            });
        }
    }
}
