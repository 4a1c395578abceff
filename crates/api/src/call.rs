//! A call whose caller is known and allowed, and whose input is read.

use crate::access::User;
use std::sync::Arc;
use tombolo_model::{Command, Reply, Scope, View};
use tombolo_store::{CommitError, Store};
use tombolo_telemetry::RequestId;

/// What the handlers of operations get beside the operation itself. The request's bytes are not part of it: they
/// were decoded once.
pub(crate) struct Call<'a> {
    /// The state.
    pub(crate) store: &'a Store,
    /// The caller's account and region.
    pub(crate) scope: Scope,
    /// The caller's access key, when the request carried a signature.
    pub(crate) access_key: Option<String>,
    /// Who the caller is; none in development mode, which knows no users.
    pub(crate) user: Option<Arc<User>>,
    /// In the answer, in the log, and with the commit.
    pub(crate) request_id: &'a RequestId,
}

impl Call<'_> {
    /// The newest published state.
    pub(crate) fn view(&self) -> Arc<View> {
        self.store.view()
    }

    /// Carries out a command; it is durable and visible when this answers.
    pub(crate) async fn commit(&self, command: Command) -> Result<Reply, CommitError> {
        let (id, scope) = (self.request_id.clone(), self.scope.clone());
        let committed = self.store.commit_for(id, scope, command).await?;
        Ok(committed.reply)
    }
}
