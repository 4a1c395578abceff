//! What each proxy should do, compiled from the model.
//!
//! The objects of a dialect ([`appmesh`]) compile to the dialect-free types of [`plan`]; only [`envoy`]
//! knows Envoy and turns a plan into xDS resources. [`Publisher`] watches the store, recompiles what a
//! change touches, and hands the results to the xDS server.
//!
//! What this crate deliberately is not: it speaks no protocol and decides no rule of the model. A spec
//! that the model accepted always compiles; what it refers to in vain is left out and reported as a
//! [`plan::Warning`].
//!
//! Read first: [`plan::Plan`].

#![forbid(unsafe_code)]

pub mod appmesh;
pub mod envoy;
pub mod plan;
mod publish;

pub use plan::Plan;
pub use publish::{Publisher, Workload};

#[cfg(test)]
mod sample;
