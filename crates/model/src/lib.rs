//! The resources of App Mesh and Cloud Map, and their rules.
//!
//! All state consists of [`Record`]s; a [`View`] is one consistent state. [`apply()`] has every rule: it takes a view
//! and a [`Command`] and returns the changes to make, or a [`Rejection`] that names the field and the reason. The AWS
//! APIs, the Kubernetes controller and the local runtime all use it, so they cannot disagree.
//!
//! This crate deliberately does no I/O, reads no clock and generates no random numbers. Time and randomness are
//! arguments (see [`Context`]).
//!
//! Read first: [`View`], then [`apply()`].

#![forbid(unsafe_code)]

pub mod apply;
pub mod appmesh;
pub mod arn;
pub mod change;
pub mod cloudmap;
pub mod entropy;
mod field_path;
pub mod limits;
pub mod memo;
pub mod rejection;
pub mod schema;
pub mod scope;
mod string_enum;
pub mod time;
pub mod validation;
pub mod view;

pub use apply::{Applied, Command, Context, Reply, apply};
pub use change::{Change, Record, RecordKey};
pub use field_path::{FieldPath, Segment};
pub use limits::{InvalidLimit, Limit, Limits};
pub use memo::Memo;
pub use rejection::{Reason, Rejection};
pub use scope::{InvalidScope, Scope};
pub use time::Timestamp;
pub use validation::{Violation, Violations};
pub use view::{ScopeView, View};
