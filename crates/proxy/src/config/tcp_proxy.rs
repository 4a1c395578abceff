//! `tcp_proxy`: which cluster a raw connection goes to.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as proto;

use super::access_log::AccessLog;
use super::error::{ConfigError, ConfigResult, ErrorContext, reject_set};
use super::value::{number, timeout};

#[derive(Debug)]
pub(crate) struct TcpProxy {
    pub(crate) stat_prefix: Arc<str>,
    choices: Vec<(Arc<str>, u32)>,
    total: u64,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_duration: Option<Duration>,
    pub(crate) connect_attempts: u32,
    pub(crate) access_logs: Vec<AccessLog>,
}

pub(crate) fn compile(config: &proto::TcpProxy) -> ConfigResult<TcpProxy> {
    reject_set!(config; on_demand, metadata_match, hash_policy, tunneling_config, upstream_connect_mode, proxy_protocol_tlvs);
    let choices = match &config.cluster_specifier {
        Some(proto::tcp_proxy::ClusterSpecifier::Cluster(name)) => vec![(name.as_str().into(), 1)],
        Some(proto::tcp_proxy::ClusterSpecifier::WeightedClusters(weighted)) => {
            let mut choices = Vec::with_capacity(weighted.clusters.len());
            for (index, entry) in weighted.clusters.iter().enumerate() {
                reject_set!(entry; metadata_match);
                if entry.name.is_empty() {
                    return Err(ConfigError::new(
                        format!("weighted_clusters.clusters[{index}].name"),
                        "is required",
                    ));
                }
                choices.push((entry.name.as_str().into(), entry.weight));
            }
            choices
        }
        None => return Err(ConfigError::new("cluster", "is required")),
    };
    let total = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 {
        return Err(ConfigError::new(
            "weighted_clusters",
            "weights must add up to at least 1",
        ));
    }
    Ok(TcpProxy {
        stat_prefix: config.stat_prefix.as_str().into(),
        choices,
        total,
        idle_timeout: timeout(
            config.idle_timeout.as_ref(),
            Some(Duration::from_secs(3600)),
            "idle_timeout",
        )?,
        max_duration: timeout(
            config.max_downstream_connection_duration.as_ref(),
            None,
            "max_downstream_connection_duration",
        )?,
        connect_attempts: number(config.max_connect_attempts.as_ref(), 1).clamp(1, 64),
        access_logs: AccessLog::compile_all(&config.access_log).context("access_log")?,
    })
}

impl TcpProxy {
    /// The cluster for one connection; `random` is any 64 bits.
    pub(crate) fn cluster(&self, random: u64) -> &Arc<str> {
        let mut point = random % self.total;
        for (name, weight) in &self.choices {
            match point.checked_sub(u64::from(*weight)) {
                Some(rest) => point = rest,
                None => return name,
            }
        }
        // Unreachable while `total` is the sum of the weights; the first choice is a safe answer.
        &self.choices[0].0
    }
}
