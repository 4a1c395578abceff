//! Revisions, compare-and-commit and watch over the model.
//!
//! A [`Store`] has one writer. A command is decided by `tombolo_model::apply` on the newest state,
//! written durably, published as a new [`View`](tombolo_model::View), announced to every [`Watch`], and
//! only then acknowledged. Readers hold views and take no lock. Where several replicas share an etcd
//! cluster, a write is made only if no other replica wrote since the state on which it was decided.
//!
//! What this crate deliberately is not: it knows no rule of the mesh, and no protocol of its callers.
//!
//! Read first: [`Store`].

#![forbid(unsafe_code)]

mod decide;
pub mod dump;
mod election;
pub mod etcd;
mod local_engine;
mod metrics;
mod record_codec;
mod state;
mod store;
mod watch;
mod writer;

pub use election::{Election, Leadership};
pub use local_engine::OpenError;
pub use state::State;
pub use store::{CommitError, Committed, Condition, ReplaceError, Store};
pub use watch::{Event, Watch};
