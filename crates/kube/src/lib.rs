//! Kubernetes kinds as pure functions: reading manifests, admission, conversion, injection, registration.
//!
//! Text becomes typed objects ([`manifest`]); objects are defaulted and validated as by the App Mesh webhooks
//! ([`admit`]), converted to specs of the mesh model ([`convert`]), and pods get their sidecar ([`inject`]) and their
//! instances in the registry ([`register`]). The local runtime and a real controller call the same functions, so they
//! cannot disagree.
//!
//! Nothing here does I/O, waits, or reads a clock: no API server, no store, no files. Names, states and times are
//! arguments.
//!
//! Read [`cluster::ClusterObjects`] first: it is the view of one cluster that every decision is made against. The
//! behaviour is that of `facts/controller.md`; where this crate is stricter, the comment has the reason.

#![forbid(unsafe_code)]

pub mod admit;
pub mod cluster;
mod codec;
pub mod convert;
pub mod crd;
mod fields;
pub mod finalizer;
pub mod inject;
pub mod manifest;
pub mod members;
pub mod register;
pub mod selector;
#[cfg(test)]
mod testkit;
pub mod v1beta1;

pub use cluster::ClusterObjects;
pub use codec::Codec;
pub use fields::{ObjectExt, PodExt, PodSpecExt};
pub use tombolo_model::{FieldPath, Violation, Violations};
