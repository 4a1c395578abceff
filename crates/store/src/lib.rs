//! Revisions, compare-and-commit and watch over the model.
//!
//! A [`Store`] owns the one writer. A command is decided by `tombolo_model::apply` on the newest state,
//! written durably, published as a new [`View`](tombolo_model::View), announced to every [`Watch`], and
//! only then acknowledged. Readers hold views and take no lock.
//!
//! What this crate deliberately is not: it knows no rule of the mesh, and no protocol.
//!
//! Read first: [`Store`].

#![forbid(unsafe_code)]

mod engine;
mod store;
mod watch;

pub use engine::OpenError;
pub use store::{CommitError, Committed, Store};
pub use watch::{Event, Watch};
