//! The store of the model's records, with revisions, transactions and watches.
//!
//! A [`Store`] has one writer. `tombolo_model::apply` applies a command to the newest state; the changes are
//! written durably, published as a new [`View`](tombolo_model::View), announced to every [`Watch`], and
//! only then acknowledged. Readers have views and take no lock. If several replicas share an etcd
//! cluster, a write succeeds only if no other replica wrote since the state on which it is based.
//!
//! This crate deliberately knows no rule of the mesh, and no protocol of its callers.
//!
//! Read first: [`Store`].

#![forbid(unsafe_code)]

mod election;
pub mod etcd;
pub mod export;
mod full_state;
mod local_engine;
mod local_writer;
mod metrics;
mod record_codec;
mod secret;
mod store;
mod watch;
mod write_request;

pub use election::{Election, Leadership};
pub use full_state::FullState;
pub use local_engine::OpenError;
pub use secret::Secret;
pub use store::{CommitError, Committed, Condition, ReplaceError, Store};
pub use watch::{Event, Watch};
