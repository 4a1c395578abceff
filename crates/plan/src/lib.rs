//! The compiler from the model to the xDS resources of each proxy.
//!
//! The objects of a [`Dialect`], such as [`appmesh`], compile to the dialect-free types of [`plan`]; only [`envoy`]
//! knows Envoy and turns a plan into xDS resources. The planner caches compiled results and recompiles those that a
//! change affects; [`Publisher`] watches the store, drives the planner and hands the results to the xDS server.
//!
//! This crate deliberately speaks no protocol and decides no rule of the model. A spec that the model accepted always
//! compiles; a reference to an object that does not exist is left out and reported as a [`plan::Warning`].
//!
//! Read first: [`plan::Plan`].

#![forbid(unsafe_code)]

pub mod appmesh;
pub mod dialect;
mod encode_once;
pub mod envoy;
pub mod plan;
mod planner;
mod publish;

pub use appmesh::AppMesh;
pub use dialect::{Dialect, Workload};
pub use encode_once::Shared;
pub use plan::Plan;
pub use publish::Publisher;

#[cfg(test)]
mod sample;
