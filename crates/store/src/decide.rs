//! Jobs of the writer, and how a command is decided.

use crate::election::Leadership;
use crate::{
    state::State,
    store::{CommitError, Committed, ReplaceError},
};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tombolo_model::{
    Change, Command, Context, Limits, Rejection, Scope, Timestamp, View, entropy::Entropy,
};
use tombolo_telemetry::RequestId;

/// A request to the writer: a commit, or a replacement of the state.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every job is the large one"
)]
pub(crate) enum Job {
    Commit(Commit),
    Replace(Replace),
}

/// A command that waits to be carried out.
pub(crate) struct Commit {
    pub(crate) scope: Scope,
    pub(crate) command: Command,
    pub(crate) limits: Limits,
    /// Carried out only while this lead lasts.
    pub(crate) fence: Option<Leadership>,
    /// The API call that it came with.
    pub(crate) request_id: Option<RequestId>,
    pub(crate) asked: Instant,
    pub(crate) done: oneshot::Sender<Result<Committed, CommitError>>,
}

/// A whole state that should take the place of the present one.
pub(crate) struct Replace {
    pub(crate) state: State,
    /// Replaces the state even if it is not empty.
    pub(crate) overwrite: bool,
    pub(crate) done: oneshot::Sender<Result<u64, ReplaceError>>,
}

impl Replace {
    /// The revision of the new state. Revisions only grow: over a store that was ever written to, the
    /// state gets the next one.
    pub(crate) fn revision(&self, view: &View) -> Result<u64, ReplaceError> {
        let records = State::of(view).records.len();
        if records > 0 && !self.overwrite {
            return Err(ReplaceError::NotEmpty { records });
        }
        Ok(match view.revision {
            0 => self.state.revision,
            present => present.max(self.state.revision) + 1,
        })
    }
}

/// Decides a command on a state, and brings that state to where the command leads.
pub(crate) fn decide(
    view: &mut View,
    commit: &Commit,
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

/// A source of unpredictable identifiers.
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
