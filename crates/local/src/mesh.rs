//! The mesh objects of all clusters, brought to the control plane as a real controller would.

pub mod controller;
pub mod registrar;
pub mod wanted;

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::Cluster;

/// Waits for a change in any of several clusters.
pub(crate) struct Changes(Vec<watch::Receiver<u64>>);

impl Changes {
    /// Changes of these clusters from now on.
    pub(crate) fn of(clusters: &[Arc<Cluster>]) -> Self {
        Self(
            clusters
                .iter()
                .map(|cluster| cluster.objects.watch())
                .collect(),
        )
    }

    /// Resolves at the next change; at once if there was one since the last call.
    pub(crate) async fn next(&mut self) {
        let waiting = self
            .0
            .iter_mut()
            .map(|receiver| Box::pin(receiver.changed()));
        let (_, _, rest) = futures::future::select_all(waiting).await;
        drop(rest);
        for receiver in &mut self.0 {
            receiver.mark_unchanged();
        }
    }
}

#[cfg(test)]
mod tests;
