//! The rules of App Mesh and Cloud Map, as a pure function from a view and a command to changes.

pub mod appmesh;
pub mod cloudmap;
mod tags;

use crate::{
    Change, Limits, Rejection, Scope, Timestamp, View, appmesh::Resource, cloudmap::Service,
};
use std::sync::Arc;

/// A request to change the state.
#[derive(Clone, Debug)]
pub enum Command {
    /// A command of App Mesh.
    AppMesh(appmesh::Command),
    /// A command of Cloud Map.
    CloudMap(cloudmap::Command),
}

/// The caller and the time of a command, and the seed of the identifiers that it generates.
#[derive(Clone, Debug)]
pub struct Context {
    /// The caller's account and region.
    pub scope: Scope,
    /// The current time.
    pub now: Timestamp,
    /// The seed of the identifiers: random bits, new for each command.
    pub seed: u64,
    /// Maximum numbers of resources.
    pub limits: Limits,
}

/// An accepted command: the changes and the reply.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The changes to commit atomically; empty if the state already is the desired one.
    pub changes: Vec<Change>,
    /// The result for the caller.
    pub reply: Reply,
}

/// The result of a command.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The resource after the command; after a deletion, its last state.
    Resource(Arc<Resource>),
    /// The id of the operation that the Cloud Map command created.
    Operation(Arc<str>),
    /// The created or changed service.
    Service(Arc<Service>),
    /// No result.
    Done,
}

impl Applied {
    fn unchanged(reply: Reply) -> Self {
        Self {
            changes: Vec::new(),
            reply,
        }
    }
}

/// Applies a command to a view; returns the changes, which the caller commits, and the reply.
///
/// # Errors
/// The command violates a rule.
pub fn apply(view: &View, context: &Context, command: &Command) -> Result<Applied, Rejection> {
    match command {
        Command::AppMesh(command) => appmesh::apply(view, context, command),
        Command::CloudMap(command) => cloudmap::apply(view, context, command),
    }
}
