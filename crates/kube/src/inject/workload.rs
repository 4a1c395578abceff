//! Which virtual node or gateway a pod is.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::Violation;
use crate::cluster::{ClusterObjects, ObjectKey};
use crate::crd::{Mesh, MeshRef};
use crate::selector::{self, Labels};

/// A node or a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// A virtual node: an application with a proxy beside it.
    VirtualNode,
    /// A virtual gateway: a proxy of its own.
    VirtualGateway,
}

impl WorkloadKind {
    /// As ARNs have it.
    pub const fn path_word(self) -> &'static str {
        match self {
            Self::VirtualNode => "virtualNode",
            Self::VirtualGateway => "virtualGateway",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VirtualNode => "VirtualNode",
            Self::VirtualGateway => "VirtualGateway",
        })
    }
}

/// What a pod is in the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// A node or a gateway.
    pub kind: WorkloadKind,
    /// Namespace and name of its object.
    pub key: ObjectKey,
    /// Name of the mesh in the mesh API.
    pub mesh: String,
    /// Owner of the mesh, when the Mesh object names one.
    pub mesh_owner: Option<String>,
    /// Its own name in the mesh API.
    pub aws_name: String,
}

impl Workload {
    /// The name by which the proxy asks for its configuration: `mesh/<mesh>/virtualNode/<name>`. A mesh of
    /// another owner than `account` is written `<mesh>@<owner>`.
    pub fn resource_path(&self, account: &str) -> String {
        let owner = self.mesh_owner.as_deref().filter(|owner| *owner != account);
        let owner = owner.map(|owner| format!("@{owner}")).unwrap_or_default();
        format!(
            "mesh/{}{owner}/{}/{}",
            self.mesh,
            self.kind.path_word(),
            self.aws_name
        )
    }
}

/// The node or gateway of `namespace` that selects a pod with these labels; `None` if nothing does.
///
/// # Errors
/// Several select it, or the one that does was not admitted into a mesh that is there.
pub fn workload_of(
    labels: &Labels,
    namespace: &str,
    objects: &ClusterObjects,
) -> Result<Option<Workload>, Violation> {
    let here = |own: Option<&String>| own.map_or("", String::as_str) == namespace;
    // An absent selector selects nothing here: such a node models something outside the cluster.
    let selects = |selector: Option<&LabelSelector>| {
        selector.is_some_and(|selector| selector::matches(selector, labels))
    };
    let nodes = objects
        .virtual_nodes()
        .filter(|node| {
            here(node.metadata.namespace.as_ref()) && selects(node.spec.pod_selector.as_ref())
        })
        .map(|node| Candidate {
            kind: WorkloadKind::VirtualNode,
            name: node.metadata.name.as_deref().unwrap_or_default(),
            aws_name: node.spec.aws_name.as_deref(),
            mesh_ref: node.spec.mesh_ref.as_ref(),
        });
    let gateways = objects
        .virtual_gateways()
        .filter(|gateway| {
            here(gateway.metadata.namespace.as_ref()) && selects(gateway.spec.pod_selector.as_ref())
        })
        .map(|gateway| Candidate {
            kind: WorkloadKind::VirtualGateway,
            name: gateway.metadata.name.as_deref().unwrap_or_default(),
            aws_name: gateway.spec.aws_name.as_deref(),
            mesh_ref: gateway.spec.mesh_ref.as_ref(),
        });
    let candidates: Vec<Candidate<'_>> = nodes.chain(gateways).collect();
    match candidates.as_slice() {
        [] => Ok(None),
        [one] => one.admitted(namespace, objects).map(Some),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|each| format!("{} {namespace}/{}", each.kind, each.name))
                .collect();
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

struct Candidate<'a> {
    kind: WorkloadKind,
    name: &'a str,
    aws_name: Option<&'a str>,
    mesh_ref: Option<&'a MeshRef>,
}

impl Candidate<'_> {
    fn admitted(&self, namespace: &str, objects: &ClusterObjects) -> Result<Workload, Violation> {
        let mesh: Option<&Mesh> = self
            .mesh_ref
            .and_then(|mesh_ref| objects.mesh(&mesh_ref.name));
        let mesh_name = mesh.and_then(|mesh| mesh.spec.aws_name.clone());
        let (Some(mesh), Some(mesh_name), Some(aws_name)) = (mesh, mesh_name, self.aws_name) else {
            return Err(Violation::new(
                "metadata.labels",
                format!(
                    "{} {namespace}/{} selects the pod, but it is in no mesh; delete it and create it anew once its mesh is there",
                    self.kind, self.name
                ),
            ));
        };
        Ok(Workload {
            kind: self.kind,
            key: ObjectKey::new(namespace, self.name),
            mesh: mesh_name,
            mesh_owner: mesh.spec.mesh_owner.clone(),
            aws_name: aws_name.to_owned(),
        })
    }
}
