//! The requests to the writer of a store, and the application of a command to a view.

use crate::election::Leadership;
use crate::{
    full_state::FullState,
    store::{CommitError, Committed, ReplaceError},
};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tombolo_model::{
    Change, Command, Context, Limits, Rejection, Scope, Timestamp, View, entropy::Entropy,
};
use tombolo_telemetry::RequestId;

/// A request to the writer.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every request is the large one"
)]
pub(crate) enum WriteRequest {
    Commit(CommitRequest),
    Replace(ReplaceRequest),
}

/// A request to commit the changes of a command.
pub(crate) struct CommitRequest {
    pub(crate) scope: Scope,
    pub(crate) command: Command,
    pub(crate) limits: Limits,
    /// The leadership that must still last at the commit.
    pub(crate) fence: Option<Leadership>,
    /// The id of the API call with the command.
    pub(crate) request_id: Option<RequestId>,
    /// The time of the request, for its deadline.
    pub(crate) begun: Instant,
    pub(crate) done: oneshot::Sender<Result<Committed, CommitError>>,
}

/// A request to replace the full state.
pub(crate) struct ReplaceRequest {
    pub(crate) state: FullState,
    /// Whether a state that is not empty may be replaced.
    pub(crate) overwrite: bool,
    pub(crate) done: oneshot::Sender<Result<u64, ReplaceError>>,
}

impl ReplaceRequest {
    /// The revision of the new state: its own in a store without a write so far, else greater than that of both.
    ///
    /// # Errors
    ///
    /// If the store is not empty and `overwrite` is false.
    pub(crate) fn revision(&self, view: &View) -> Result<u64, ReplaceError> {
        let records = FullState::of(view).records.len();
        if records > 0 && !self.overwrite {
            return Err(ReplaceError::NotEmpty { records });
        }
        Ok(match view.revision {
            0 => self.state.revision,
            present => present.max(self.state.revision) + 1,
        })
    }
}

/// Applies a command to a view; returns the changes and the answer.
///
/// # Errors
///
/// If the command is rejected. The view stays the same.
pub(crate) fn apply_command(
    view: &mut View,
    commit: &CommitRequest,
    entropy: &mut Entropy,
) -> Result<(Vec<Change>, Committed), Rejection> {
    let context = Context {
        scope: commit.scope.clone(),
        now: now(),
        seed: entropy.next_u64(),
        limits: commit.limits,
    };
    let applied = tombolo_model::apply(view, &context, &commit.command)?;
    if !applied.changes.is_empty() {
        let revision = view.revision + 1;
        for change in &applied.changes {
            view.apply(revision, change);
        }
    }
    let committed = Committed {
        revision: view.revision,
        reply: applied.reply,
    };
    Ok((applied.changes, committed))
}

/// A random generator of identifiers, seeded by the operating system.
pub(crate) fn entropy() -> Entropy {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    Entropy::new(u64::from_ne_bytes(bytes))
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
