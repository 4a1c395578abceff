//! Every rule of App Mesh and Cloud Map, as a function.

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

/// For whom and when a command is decided, and the seed for the identifiers that it needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The caller's account and region.
    pub scope: Scope,
    /// The caller's clock.
    pub now: Timestamp,
    /// Fresh random bits.
    pub seed: u64,
    /// How many of each thing there may be.
    pub limits: Limits,
}

/// A command that is allowed: what to change and what to answer.
#[derive(Clone, Debug)]
pub struct Applied {
    /// To be made together, or not at all. Empty when the state already is as asked for.
    pub changes: Vec<Change>,
    /// What the caller is answered with.
    pub reply: Reply,
}

/// The result of a command.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The resource as it is now; for a deletion, as it was.
    Resource(Arc<Resource>),
    /// The id of the operation that a Cloud Map command starts.
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

/// Decides a command on a state. The state is not touched: the caller commits the changes.
pub fn apply(view: &View, context: &Context, command: &Command) -> Result<Applied, Rejection> {
    match command {
        Command::AppMesh(command) => appmesh::apply(view, context, command),
        Command::CloudMap(command) => cloudmap::apply(view, context, command),
    }
}
