//! The context of a call that is authorized and parsed.

use crate::{access::User, eks::Cluster, sts};
use std::sync::Arc;
use tombolo_model::{Command, Reply, Scope, View};
use tombolo_store::{CommitError, Store};
use tombolo_telemetry::RequestId;

/// The context in which an operation is executed.
pub(crate) struct Call<'a> {
    /// The store to read and to commit to.
    pub(crate) store: &'a Store,
    /// The caller's account and region.
    pub(crate) scope: Scope,
    /// The caller's access key, if the request has a signature.
    pub(crate) access_key: Option<String>,
    /// The caller; `None` in development mode, which has no users.
    pub(crate) user: Option<Arc<User>>,
    /// The clusters that EKS knows.
    pub(crate) clusters: Arc<Vec<Cluster>>,
    /// What makes keys for callers of STS.
    pub(crate) issuer: sts::Issuer<'a>,
    /// The id of the call in the answer, in the log and in the commit.
    pub(crate) request_id: &'a RequestId,
}

impl Call<'_> {
    /// The newest published state.
    pub(crate) fn view(&self) -> Arc<View> {
        self.store.view()
    }

    /// Commits a command. Its changes are durable and visible when this returns.
    pub(crate) async fn commit(&self, command: Command) -> Result<Reply, CommitError> {
        let (id, scope) = (self.request_id.clone(), self.scope.clone());
        let committed = self.store.commit_for(id, scope, command).await?;
        Ok(committed.reply)
    }
}
