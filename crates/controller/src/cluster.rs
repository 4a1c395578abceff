//! A cluster: the source of objects, and the target of their status.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tombolo_kube::ClusterObjects;
use tombolo_kube::crd::{Kind, Resource};
use tombolo_kube::selector::Labels;

use crate::Status;

/// One cluster. Implementations keep objects in memory; reading them does no I/O.
pub trait Cluster: Send + Sync + 'static {
    /// The name of the cluster; unique among those that share a control plane, and stable across runs.
    fn name(&self) -> &str;

    /// Marked as changed after each change of a namespace, a mesh object or a pod. The value has no meaning.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The current namespaces and mesh objects: complete from the first call on, since resources without an object
    /// are deleted. The same `Arc` as long as nothing but the status of an object has changed.
    fn objects(&self) -> Arc<ClusterObjects>;

    /// All current pods.
    fn pods(&self) -> Vec<Arc<Pod>>;

    /// The [owner](crate::OWNER_TAG) of what is created for objects of this cluster, if it is not that of all clusters
    /// ([`Options::owner`](crate::Options)). The same in the next run.
    fn owner(&self) -> Option<&str> {
        None
    }

    /// The labels of a machine of the cluster, which say where its pods are.
    fn host_labels(&self, _host: &str) -> Option<Labels> {
        None
    }

    /// Holds an object, so that its deletion waits for [`release`](Self::release). Called before anything is created
    /// for it, and each time something is: one that is held already costs nothing. An object that is gone is no error.
    fn hold(&self, _object: &ObjectRef) -> impl Future<Output = Result<(), PatchError>> + Send {
        async { Ok(()) }
    }

    /// Lets a deletion go on: what this finalizer (of [`tombolo_kube::finalizer`]) stands for is gone. An object that is
    /// gone, or does not have it, is no error.
    fn release(
        &self,
        _object: &ObjectRef,
        _finalizer: &'static str,
    ) -> impl Future<Output = Result<(), PatchError>> + Send {
        async { Ok(()) }
    }

    /// Writes what admission adds to an object (names and membership) into one that was created while nobody admitted.
    fn admit(
        &self,
        _object: &ObjectRef,
        _admitted: &Resource,
    ) -> impl Future<Output = Result<(), PatchError>> + Send {
        async { Ok(()) }
    }

    /// Notes the ARN of the Cloud Map service of a virtual node in the object.
    fn record_service(
        &self,
        _object: &ObjectRef,
        _arn: &str,
    ) -> impl Future<Output = Result<(), PatchError>> + Send {
        async { Ok(()) }
    }

    /// Writes the status of an object if it differs. A deleted object is not an error.
    fn patch_status(
        &self,
        object: &ObjectRef,
        status: &Status,
    ) -> impl Future<Output = Result<(), PatchError>> + Send;

    /// Sets a readiness gate's condition of a pod to `True` if the pod has the gate and the condition is not set. A
    /// deleted pod is not an error.
    fn set_readiness_gate(
        &self,
        namespace: &str,
        pod: &str,
        condition: &str,
    ) -> impl Future<Output = Result<(), PatchError>> + Send;
}

/// A status that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the status")]
pub struct PatchError(#[source] pub Box<dyn Error + Send + Sync>);

/// A mesh object of one of a controller's clusters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Index of the cluster.
    pub cluster: usize,
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for a mesh.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectRef {
    /// The reference to an object of the cluster with this index.
    pub fn of(cluster: usize, resource: &Resource) -> Self {
        Self {
            cluster,
            kind: resource.kind(),
            namespace: resource.namespace().to_owned(),
            name: resource.name().to_owned(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Whether the objects of all clusters are unchanged.
pub(crate) fn is_same(old: &[Arc<ClusterObjects>], new: &[Arc<ClusterObjects>]) -> bool {
    let mut pairs = old.iter().zip(new);
    old.len() == new.len() && pairs.all(|(old, new)| Arc::ptr_eq(old, new))
}

/// Every owner that a controller of these clusters is.
pub(crate) fn owners<C: Cluster>(clusters: &[Arc<C>], own: &str) -> BTreeSet<String> {
    let clusters = clusters.iter().filter_map(|cluster| cluster.owner());
    clusters.chain([own]).map(str::to_owned).collect()
}

/// Waits for a change in any of several clusters.
pub struct Changes(Vec<watch::Receiver<u64>>);

impl Changes {
    /// Changes of these clusters from now on.
    pub fn of<C: Cluster>(clusters: &[Arc<C>]) -> Self {
        Self(clusters.iter().map(|cluster| cluster.changes()).collect())
    }

    /// Resolves at the next change; at once if there was one since it last resolved. Cancel safe.
    pub async fn next(&mut self) {
        let waiting = self
            .0
            .iter_mut()
            .map(|receiver| Box::pin(receiver.changed()));
        let (ended, _, rest) = futures::future::select_all(waiting).await;
        drop(rest);
        if ended.is_err() {
            // The cluster was dropped and never changes again.
            std::future::pending::<()>().await;
        }
        self.0.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }
}
