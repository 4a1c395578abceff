//! The backend trait: local clusters, or a control plane.

use crate::{apply, columns::Column, delete, error::Result, json};
use serde_json::Value;
use std::time::Duration;

/// A source of objects: [`crate::local::Local`], the clusters of a running `tombolo up`, or
/// [`crate::control_plane::ControlPlane`], the AWS APIs of a server. A context of a kubeconfig would be a third.
pub(crate) trait Backend {
    /// Pause between two polls of `get --watch`.
    const POLL: Duration;

    /// The objects that a query selects, in the order of its arguments.
    ///
    /// # Errors
    /// The kind is unknown, a name is ambiguous, or the backend does not answer.
    async fn find(&self, query: &Query<'_>) -> Result<Found>;

    /// Applies files, all of them or none as far as that can be checked in advance, and prints the outcome of each
    /// object.
    ///
    /// # Errors
    /// A file is invalid, or the backend refuses.
    async fn apply(&self, files: apply::Files, options: &apply::Options) -> Result<()>;

    /// Deletes objects, which are found before anything is deleted, and prints each.
    ///
    /// # Errors
    /// An object does not exist, or the backend refuses.
    async fn delete(&self, objects: delete::Objects<'_>, options: &delete::Options) -> Result<()>;
}

/// Arguments of the command line that select objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// A kind, several with commas, `all`, KIND/NAME, or an ARN.
    pub(crate) kind: &'a str,
    /// Names, or more arguments like the first; all objects where there are none.
    pub(crate) names: &'a [String],
    /// Labels or tags that must match: `app=front,version!=v1`.
    pub(crate) selector: Option<&'a str>,
}

/// Objects that were found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The objects.
    pub(crate) objects: Vec<Object>,
    /// Messages about named objects that do not exist.
    pub(crate) missing: Vec<String>,
    /// Whether one object was named, which is printed by itself and not as a list.
    pub(crate) is_single: bool,
    /// Whether there are several clusters, so that tables have a column for them.
    pub(crate) has_clusters: bool,
}

/// An object as commands print it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    /// The kind; objects of one kind share a table.
    pub(crate) kind: String,
    /// The name that every command accepts: `deployment.apps/front`, `virtualnode/shop/front`.
    pub(crate) qualified_name: String,
    /// The name in a table of several kinds.
    pub(crate) short_name: String,
    /// The Kubernetes namespace, where the kind has one.
    pub(crate) namespace: Option<String>,
    /// The cluster; empty for resources of a control plane.
    pub(crate) cluster: String,
    /// Columns of its table.
    pub(crate) columns: &'static [Column],
    /// The complete object.
    pub(crate) document: Value,
}

impl Object {
    /// Labels or tags: `app=front,version=v1`.
    pub(crate) fn labels(&self) -> String {
        let pointer = match self.is_of_control_plane() {
            true => "/metadata/tags",
            false => "/metadata/labels",
        };
        json::pairs(&self.document, pointer)
    }

    /// Whether it is a resource of a control plane rather than an object of a cluster.
    pub(crate) fn is_of_control_plane(&self) -> bool {
        self.cluster.is_empty()
    }

    /// The text or number at a JSON pointer, or `otherwise`.
    pub(crate) fn text_or(&self, pointer: &str, otherwise: &str) -> String {
        json::text_or(&self.document, pointer, otherwise)
    }
}
