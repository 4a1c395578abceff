//! Where the objects of a command are.

use crate::{apply, delete, error::Result};
use serde_json::Value;
use std::time::Duration;

/// A place with objects: [`crate::local::Local`], the clusters of a running `tombolo up`, or
/// [`crate::control_plane::ControlPlane`], what the AWS APIs of a server have. A context of a kubeconfig would be
/// a third.
pub(crate) trait Backend {
    /// Pause between two looks of `get --watch`.
    const POLL: Duration;

    /// Objects that words of the command line mean, in the order of the words.
    ///
    /// # Errors
    /// The words mean nothing here, a name means several objects, or the place does not answer.
    async fn find(&self, query: &Query<'_>) -> Result<Found>;

    /// Applies files, all of them or none as far as that can be checked before, and prints the outcome of each
    /// object.
    ///
    /// # Errors
    /// A file is wrong, or the place refuses.
    async fn apply(&self, files: apply::Files, options: &apply::Options) -> Result<()>;

    /// Deletes objects, found before anything is deleted, and prints each.
    ///
    /// # Errors
    /// Something is not there, or the place refuses.
    async fn delete(&self, objects: delete::Objects<'_>, options: &delete::Options) -> Result<()>;
}

/// Words of the command line that choose objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// A kind, several with commas, `all`, KIND/NAME, or an ARN.
    pub(crate) kind: &'a str,
    /// Names, or more words like the first; all objects where there are none.
    pub(crate) names: &'a [String],
    /// Labels or tags that must match: `app=front,version!=v1`.
    pub(crate) selector: Option<&'a str>,
}

/// Objects that were found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The objects.
    pub(crate) objects: Vec<Object>,
    /// What was named and is not there, as messages.
    pub(crate) missing: Vec<String>,
    /// Whether one object was named, which is printed bare and not as a list.
    pub(crate) is_single: bool,
    /// Whether the place has several clusters, so that tables say which.
    pub(crate) has_clusters: bool,
}

/// Columns of a table, and whether each is shown in wide tables only. The first holds the name.
pub(crate) type Columns = &'static [(&'static str, bool)];

/// An object as commands print it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// The kind; objects of one kind share a table.
    pub(crate) kind: String,
    /// The name that every command understands: `deployment.apps/front`, `virtualnode/shop/front`.
    pub(crate) qualified_name: String,
    /// The name in a table of several kinds.
    pub(crate) short_name: String,
    /// The Kubernetes namespace, where the kind has one.
    pub(crate) namespace: Option<String>,
    /// The cluster.
    pub(crate) cluster: String,
    /// Labels or tags: `app=front,version=v1`.
    pub(crate) labels: String,
    /// Columns of its table.
    pub(crate) columns: Columns,
    /// A cell for each column.
    pub(crate) cells: Vec<String>,
    /// The complete object.
    pub(crate) document: Value,
    /// What stays the same while the object exists.
    pub(crate) uid: String,
    /// What changes whenever the object does.
    pub(crate) version: String,
}
