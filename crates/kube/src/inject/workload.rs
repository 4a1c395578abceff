//! The virtual node or gateway of a pod.

use crate::Violation;
use crate::cluster::{ClusterObjects, ObjectKey};
use crate::crd::{Kind, Resource};
use crate::selector::{self, Labels};

/// The virtual node or gateway of a pod, with its mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `VirtualNode` or `VirtualGateway`.
    pub kind: Kind,
    /// Namespace and name of its object.
    pub key: ObjectKey,
    /// Name of the mesh in the mesh API.
    pub mesh: String,
    /// Owner of the mesh, when the Mesh object names one.
    pub mesh_owner: Option<String>,
    /// Name of the node or gateway in the mesh API.
    pub aws_name: String,
}

impl Workload {
    /// The resource name with which the proxy requests its configuration: `mesh/<mesh>/virtualNode/<name>`. A mesh of
    /// an owner other than `account` is written `<mesh>@<owner>`.
    pub fn resource_path(&self, account: &str) -> String {
        let owner = self.mesh_owner.as_deref().filter(|owner| *owner != account);
        let owner = owner.map(|owner| format!("@{owner}")).unwrap_or_default();
        let kind = match self.kind {
            Kind::VirtualGateway => "virtualGateway",
            _ => "virtualNode",
        };
        format!("mesh/{}{owner}/{kind}/{}", self.mesh, self.aws_name)
    }
}

/// The node or gateway of `namespace` that selects a pod with these labels; `None` if there is none.
///
/// # Errors
/// Several select it, or the one that does was not admitted into an existing mesh.
pub fn workload_of(
    labels: &Labels,
    namespace: &str,
    objects: &ClusterObjects,
) -> Result<Option<Workload>, Violation> {
    let selects = |resource: &&Resource| {
        let selector = match resource {
            Resource::VirtualNode(node) => &node.spec.pod_selector,
            Resource::VirtualGateway(gateway) => &gateway.spec.pod_selector,
            _ => return false,
        };
        // An absent selector selects nothing here: such a node models something outside the cluster.
        let selector = selector.as_ref();
        resource.namespace() == namespace
            && selector.is_some_and(|selector| selector::matches(selector, labels))
    };
    let kinds = [Kind::VirtualNode, Kind::VirtualGateway].into_iter();
    let resources = kinds.flat_map(|kind| objects.all(kind));
    let candidates: Vec<&Resource> = resources.filter(selects).collect();
    match candidates.as_slice() {
        [] => Ok(None),
        [one] => admitted(one, objects).map(Some),
        several => {
            let names: Vec<String> = several.iter().copied().map(title).collect();
            Err(Violation::new(
                "metadata.labels",
                format!(
                    "the pod is selected by {}; it can be only one: narrow their spec.podSelector",
                    names.join(" and ")
                ),
            ))
        }
    }
}

fn title(resource: &Resource) -> String {
    format!("{} {}", resource.kind(), ObjectKey::of(resource))
}

/// A node or gateway that was admitted into a mesh.
fn admitted(resource: &Resource, objects: &ClusterObjects) -> Result<Workload, Violation> {
    let mesh = resource
        .mesh_ref()
        .and_then(|mesh_ref| objects.mesh(&mesh_ref.name));
    let mesh_name = mesh.and_then(|mesh| mesh.spec.aws_name.clone());
    let (Some(mesh), Some(mesh_name), Some(aws_name)) = (mesh, mesh_name, resource.aws_name())
    else {
        return Err(Violation::new(
            "metadata.labels",
            format!(
                "{} selects the pod, but it is in no mesh; delete it and create it anew once its mesh is there",
                title(resource)
            ),
        ));
    };
    Ok(Workload {
        kind: resource.kind(),
        key: ObjectKey::of(resource),
        mesh: mesh_name,
        mesh_owner: mesh.spec.mesh_owner.clone(),
        aws_name: aws_name.to_owned(),
    })
}
