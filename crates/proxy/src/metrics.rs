//! Counters. Each worker writes its own shard with plain loads and stores; a scrape adds the shards up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::upstream::connect::ConnectError;

/// A number with one writing thread and any number of readers.
///
/// Invariant: only the owning worker calls the changing methods, so a load and a store do not lose updates and cost
/// no locked instruction. [`Counter::reset`] may race with the owner and then loses at most its own effect.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(amount),
            Ordering::Relaxed,
        );
    }

    /// Decrements; only for gauges.
    pub(crate) fn dec(&self) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_sub(1),
            Ordering::Relaxed,
        );
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

macro_rules! shard {
    ($(#[$doc:meta])* $name:ident { counters: $($counter:ident),+ ; gauges: $($gauge:ident),* $(;)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name { $(pub(crate) $counter: Counter,)+ $(pub(crate) $gauge: Counter,)* }

        impl Shard for $name {
            fn values(&self) -> Vec<Value> {
                vec![
                    $((stringify!($counter), Type::Counter, self.$counter.get()),)+
                    $((stringify!($gauge), Type::Gauge, self.$gauge.get()),)*
                ]
            }

            fn reset_counters(&self) {
                $(self.$counter.reset();)+
            }
        }
    };
}

/// The named values of one shard.
pub(crate) trait Shard {
    fn values(&self) -> Vec<Value>;
    fn reset_counters(&self);
}

/// A metric's name, type and value.
pub(crate) type Value = (&'static str, Type, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Counter,
    Gauge,
}

impl Type {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

shard! {
    /// `http.<stat_prefix>.*`
    HttpStats {
        counters: downstream_cx_total, downstream_cx_destroy, downstream_cx_http1_total, downstream_cx_http2_total,
            downstream_cx_upgrades_total, downstream_cx_idle_timeout, downstream_cx_protocol_error,
            downstream_rq_total, downstream_rq_http1_total, downstream_rq_http2_total, downstream_rq_completed,
            downstream_rq_1xx, downstream_rq_2xx, downstream_rq_3xx, downstream_rq_4xx, downstream_rq_5xx,
            downstream_rq_rx_reset, downstream_rq_idle_timeout, downstream_rq_timeout, downstream_cx_silent, no_route,
            no_cluster, rq_direct_response, rq_redirect, rq_total;
        gauges: downstream_cx_active, downstream_rq_active, downstream_cx_upgrades_active;
    }
}

shard! {
    /// `tcp.<stat_prefix>.*`
    TcpStats {
        counters: downstream_cx_total, downstream_cx_no_route, downstream_cx_rx_bytes_total,
            downstream_cx_tx_bytes_total, idle_timeout;
        gauges: downstream_cx_active;
    }
}

shard! {
    /// `cluster.<name>.*`
    ClusterStats {
        counters: upstream_cx_total, upstream_cx_http1_total, upstream_cx_http2_total, upstream_cx_connect_fail,
            upstream_cx_connect_timeout, upstream_cx_destroy, upstream_cx_idle_timeout, upstream_cx_overflow,
            upstream_cx_none_healthy, upstream_cx_max_requests,
            upstream_rq_total, upstream_rq_completed, upstream_rq_1xx, upstream_rq_2xx, upstream_rq_3xx,
            upstream_rq_4xx, upstream_rq_5xx, upstream_rq_200, upstream_rq_500, upstream_rq_503, upstream_rq_504,
            upstream_rq_timeout, upstream_rq_per_try_timeout, upstream_rq_rx_reset, upstream_rq_tx_reset,
            upstream_rq_pending_total, upstream_rq_pending_overflow, upstream_rq_retry, upstream_rq_retry_success,
            upstream_rq_retry_overflow, upstream_rq_retry_limit_exceeded, lb_healthy_panic, membership_change,
            original_dst_host_invalid;
        gauges: upstream_cx_active, upstream_rq_active, upstream_rq_pending_active;
    }
}

shard! {
    /// `listener.<address>.*`
    ListenerStats {
        counters: downstream_cx_total, downstream_cx_destroy, downstream_cx_accept_failed,
            downstream_global_cx_overflow, downstream_pre_cx_timeout, no_filter_chain_match;
        gauges: downstream_cx_active, downstream_pre_cx_active;
    }
}

/// Raises a gauge by one until dropped, so that neither an early return nor a panic leaves it raised.
pub(crate) struct GaugeGuard<S> {
    stats: Arc<S>,
    gauge: fn(&S) -> &Counter,
    /// The counter of ends, if there is one.
    ended: Option<fn(&S) -> &Counter>,
}

impl<S> GaugeGuard<S> {
    pub(crate) fn new(stats: &Arc<S>, gauge: fn(&S) -> &Counter) -> Self {
        gauge(stats).inc();
        Self {
            stats: stats.clone(),
            gauge,
            ended: None,
        }
    }

    /// Also increments `ended` when the guard is dropped.
    pub(crate) fn with_end(mut self, ended: fn(&S) -> &Counter) -> Self {
        self.ended = Some(ended);
        self
    }
}

impl<S> Drop for GaugeGuard<S> {
    fn drop(&mut self) {
        (self.gauge)(&self.stats).dec();
        if let Some(ended) = self.ended {
            ended(&self.stats).inc();
        }
    }
}

impl HttpStats {
    pub(crate) fn response(&self, status: u16) {
        self.downstream_rq_completed.inc();
        match status / 100 {
            1 => self.downstream_rq_1xx.inc(),
            2 => self.downstream_rq_2xx.inc(),
            3 => self.downstream_rq_3xx.inc(),
            4 => self.downstream_rq_4xx.inc(),
            _ => self.downstream_rq_5xx.inc(),
        }
    }
}

impl ClusterStats {
    pub(crate) fn connect_failed(&self, error: &ConnectError) {
        self.upstream_cx_connect_fail.inc();
        if matches!(error, ConnectError::Timeout) {
            self.upstream_cx_connect_timeout.inc();
        }
    }

    pub(crate) fn response(&self, status: u16) {
        self.upstream_rq_completed.inc();
        match status / 100 {
            1 => self.upstream_rq_1xx.inc(),
            2 => self.upstream_rq_2xx.inc(),
            3 => self.upstream_rq_3xx.inc(),
            4 => self.upstream_rq_4xx.inc(),
            _ => self.upstream_rq_5xx.inc(),
        }
        match status {
            200 => self.upstream_rq_200.inc(),
            500 => self.upstream_rq_500.inc(),
            503 => self.upstream_rq_503.inc(),
            504 => self.upstream_rq_504.inc(),
            _ => {}
        }
    }
}

type Shards = BTreeMap<(&'static str, Arc<str>), Vec<Arc<dyn Shard + Send + Sync>>>;

/// Every shard of every worker, by scope (`http`, `cluster`, …) and name.
#[derive(Default)]
pub(crate) struct Registry {
    /// Guards the list of shards, taken when a worker uses a new name and on a scrape; never per request.
    shards: Mutex<Shards>,
}

impl Registry {
    /// A new shard for the calling worker.
    pub(crate) fn shard<S: Shard + Default + Send + Sync + 'static>(
        &self,
        scope: &'static str,
        name: &Arc<str>,
    ) -> Arc<S> {
        let shard = Arc::new(S::default());
        let mut shards = self.shards.lock();
        let known = shards.entry((scope, name.clone())).or_default();
        known.push(shard.clone());
        shard
    }

    /// Removes names for which `keep` is false.
    pub(crate) fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        let mut shards = self.shards.lock();
        shards.retain(|(scope, name), _| keep(scope, name));
    }

    /// Sums over workers, ordered by scope and name.
    pub(crate) fn aggregate(&self) -> Vec<ScopeStats> {
        let shards = self.shards.lock();
        let sum = |shards: &Vec<Arc<dyn Shard + Send + Sync>>| {
            let mut shards = shards.iter().map(|shard| shard.values());
            let mut sums = shards.next().unwrap_or_default();
            for values in shards {
                for (sum, (_, _, value)) in sums.iter_mut().zip(values) {
                    sum.2 = sum.2.wrapping_add(value);
                }
            }
            sums
        };
        let totals = shards.iter().map(|((scope, name), shards)| ScopeStats {
            scope,
            name: name.clone(),
            values: sum(shards),
        });
        totals.collect()
    }

    pub(crate) fn reset_counters(&self) {
        for shard in self.shards.lock().values().flatten() {
            shard.reset_counters();
        }
    }
}

/// The statistics of one scope and name, summed over the workers.
pub(crate) struct ScopeStats {
    pub(crate) scope: &'static str,
    pub(crate) name: Arc<str>,
    pub(crate) values: Vec<Value>,
}

impl ScopeStats {
    /// The value of a metric, 0 when there is none.
    pub(crate) fn get(&self, metric: &str) -> u64 {
        let mut values = self.values.iter();
        let found = values.find(|(name, ..)| *name == metric);
        found.map_or(0, |(.., value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_workers() {
        let registry = Registry::default();
        let name: Arc<str> = "a".into();
        for _ in 0..3 {
            let shard: Arc<HttpStats> = registry.shard("http", &name);
            shard.response(200);
            shard.downstream_cx_active.inc();
        }
        let value = |metric| registry.aggregate()[0].get(metric);
        assert_eq!(value("downstream_rq_2xx"), 3);
        assert_eq!(value("downstream_cx_active"), 3);
        registry.reset_counters();
        assert_eq!(value("downstream_rq_2xx"), 0);
        assert_eq!(value("downstream_cx_active"), 3);
    }
}
