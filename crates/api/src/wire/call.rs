//! A call on its way from the listener to its answer.

use crate::access::User;
use bytes::Bytes;
use http::request::Parts;
use std::sync::Arc;
use tombolo_model::{Command, Reply, Scope, View};
use tombolo_store::{CommitError, Store};

/// A request whose body is read and whose caller is known.
pub(crate) struct Call<'a> {
    /// Where state lives.
    pub(crate) store: &'a Store,
    /// The caller's account and region.
    pub(crate) scope: Scope,
    /// The caller's access key, when the request carried a signature.
    pub(crate) access_key: Option<String>,
    /// Who the caller is; nobody in development mode, which knows no users.
    pub(crate) user: Option<Arc<User>>,
    /// What this call is named in its answer and in the log.
    pub(crate) request_id: &'a str,
    /// Method, target and headers, the target as it came over the wire.
    pub(crate) request: &'a Parts,
    /// The whole body.
    pub(crate) body: Bytes,
}

impl Call<'_> {
    /// The newest published state.
    pub(crate) fn view(&self) -> Arc<View> {
        self.store.view()
    }

    /// Carries out a command; it is durable and visible when this answers.
    pub(crate) async fn commit(&self, command: Command) -> Result<Reply, CommitError> {
        let committed = self.store.commit(self.scope.clone(), command).await?;
        tracing::debug!(
            scope = %self.scope,
            request_id = self.request_id,
            revision = committed.revision,
            "committed"
        );
        Ok(committed.reply)
    }

    /// The query of the target.
    pub(crate) fn query(&self) -> &str {
        self.request.uri.query().unwrap_or_default()
    }
}
