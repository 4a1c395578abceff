//! `tcp_proxy`: selects the cluster of a raw connection.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as proto;

use super::access_log::AccessLog;
use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::field::{Wrapped, field};
use super::weighted::Weighted;

#[derive(Debug)]
pub(crate) struct TcpProxy {
    pub(crate) stat_prefix: Arc<str>,
    clusters: Weighted<Arc<str>>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_duration: Option<Duration>,
    pub(crate) connect_attempts: u32,
    pub(crate) access_logs: Vec<AccessLog>,
}

pub(crate) fn compile(config: &proto::TcpProxy) -> ConfigResult<TcpProxy> {
    use proto::tcp_proxy::ClusterSpecifier;
    reject_set!(config; on_demand, metadata_match, hash_policy, tunneling_config, upstream_connect_mode, proxy_protocol_tlvs);
    let clusters = match &config.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => Weighted::new(vec![(1, name.as_str().into())])?,
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted_clusters(weighted).context("weighted_clusters")?
        }
        None => return Err(ConfigError::new("cluster", "is required")),
    };
    Ok(TcpProxy {
        stat_prefix: config.stat_prefix.as_str().into(),
        clusters,
        idle_timeout: field!(config.idle_timeout).timeout(Some(Duration::from_secs(3600)))?,
        max_duration: field!(config.max_downstream_connection_duration).timeout(None)?,
        connect_attempts: config.max_connect_attempts.value_or(1).clamp(1, 64),
        access_logs: field!(config.access_log).each(AccessLog::compile)?,
    })
}

fn weighted_clusters(
    weighted: &proto::tcp_proxy::WeightedCluster,
) -> ConfigResult<Weighted<Arc<str>>> {
    let clusters = field!(weighted.clusters).each(|entry| {
        reject_set!(entry; metadata_match);
        field!(entry.name).required()?;
        Ok((entry.weight, entry.name.as_str().into()))
    })?;
    Weighted::new(clusters)
}

impl TcpProxy {
    /// The cluster for one connection; `random` is any 64 bits.
    pub(crate) fn cluster(&self, random: u64) -> &Arc<str> {
        self.clusters.choose(random)
    }
}
