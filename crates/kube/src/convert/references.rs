//! References between objects, resolved to names of the mesh API.

use tombolo_model::appmesh::spec;

use super::ConvertError;
use crate::cluster::{ClusterObjects, ObjectKey};
use crate::crd::{
    Kind, Mesh, MeshRef, NamedReference, Reference, Refs, Resource, VirtualGatewayRef,
};
use crate::{FieldPath, Violation};

/// A reference without a usable target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {}", self.message())]
pub struct ReferenceError {
    /// The field with the reference.
    pub field: FieldPath,
    /// Kind of the target.
    pub kind: Kind,
    /// Namespace and name of the target.
    pub target: ObjectKey,
    /// The problem with the target.
    pub problem: TargetProblem,
}

/// See [`ReferenceError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetProblem {
    /// It does not exist, or is not admitted yet. Retry when it is.
    Missing,
    /// It is in another mesh.
    OtherMesh {
        /// Mesh of the target.
        theirs: Box<str>,
        /// Mesh of the referrer.
        ours: Box<str>,
    },
    /// It was deleted and recreated since the referrer was admitted.
    Recreated,
}

impl ReferenceError {
    fn new(
        field: FieldPath,
        kind: Kind,
        namespace: &str,
        name: &str,
        problem: TargetProblem,
    ) -> Self {
        Self {
            field,
            kind,
            target: ObjectKey::new(namespace, name),
            problem,
        }
    }

    /// The message without the field.
    pub(super) fn message(&self) -> String {
        let (kind, target) = (self.kind, &self.target);
        match &self.problem {
            TargetProblem::Missing => {
                format!("{kind} {target} is not there; create it, or correct the reference")
            }
            TargetProblem::OtherMesh { theirs, ours } => format!(
                "{kind} {target} is in mesh {theirs}, this object in mesh {ours}; both must share one mesh"
            ),
            TargetProblem::Recreated => format!(
                "{kind} {target} was recreated since this object was admitted; delete this object and create it anew"
            ),
        }
    }
}

/// The mesh that an object was admitted into.
pub(super) fn mesh<'a>(
    mesh_ref: &MeshRef,
    objects: &'a ClusterObjects,
) -> Result<&'a Mesh, ReferenceError> {
    let MeshRef { name, uid } = mesh_ref;
    let mesh = objects.mesh(name);
    let found = mesh.map(|mesh| mesh.metadata.uid.as_deref());
    match (mesh, problem_of(uid, found)) {
        // Without a name it is not admitted yet.
        (Some(mesh), None) if mesh.spec.aws_name.is_some() => Ok(mesh),
        (_, problem) => Err(ReferenceError::new(
            "spec.meshRef".into(),
            Kind::Mesh,
            "",
            name,
            problem.unwrap_or(TargetProblem::Missing),
        )),
    }
}

/// The gateway of a gateway route, by its name in the mesh API.
pub(super) fn gateway(
    gateway_ref: &VirtualGatewayRef,
    own_namespace: &str,
    objects: &ClusterObjects,
) -> Result<String, ReferenceError> {
    let namespace = gateway_ref.namespace.as_deref().unwrap_or(own_namespace);
    let gateway = objects.virtual_gateway(namespace, &gateway_ref.name);
    let found = gateway.map(|gateway| gateway.metadata.uid.as_deref());
    let name = gateway.and_then(|gateway| gateway.spec.aws_name.clone());
    match (name, problem_of(&gateway_ref.uid, found)) {
        (Some(name), None) => Ok(name),
        (_, problem) => Err(ReferenceError::new(
            "spec.virtualGatewayRef".into(),
            Kind::VirtualGateway,
            namespace,
            &gateway_ref.name,
            problem.unwrap_or(TargetProblem::Missing),
        )),
    }
}

/// Compares the uid recorded at admission with that of the object that was found. An empty uid is not compared: the
/// local runtime has none.
fn problem_of(recorded: &str, found: Option<Option<&str>>) -> Option<TargetProblem> {
    match found {
        None => Some(TargetProblem::Missing),
        Some(Some(uid)) if !recorded.is_empty() && uid != recorded => {
            Some(TargetProblem::Recreated)
        }
        Some(_) => None,
    }
}

/// Resolves the references of one object.
pub(super) struct Resolver<'a> {
    namespace: &'a str,
    mesh: Option<&'a MeshRef>,
    objects: &'a ClusterObjects,
}

impl spec::Resolver<Refs> for Resolver<'_> {
    type Error = ConvertError;

    /// An ARN takes precedence over a reference.
    fn name(&self, at: &FieldPath, reference: NamedReference) -> Result<String, ConvertError> {
        let NamedReference {
            target,
            reference,
            arn,
        } = reference;
        if let Some(arn) = arn {
            let name = target.name_in(&arn);
            return Ok(name.map_err(|error| {
                Violation::new(at.clone().field(target.arn), error.to_string())
            })?);
        }
        let field = at.clone().field(target.reference);
        let Some(reference) = reference else {
            let message = format!("needs {} or {}", target.reference, target.arn);
            return Err(Violation::new(at.clone(), message).into());
        };
        let (namespace, name) = reference.resolve(self.namespace);
        Ok(self.name_of(&field, target.kind, namespace, name)?)
    }
}

impl<'a> Resolver<'a> {
    pub(super) fn new(resource: &'a Resource, objects: &'a ClusterObjects) -> Self {
        Self {
            namespace: resource.namespace(),
            mesh: resource.mesh_ref(),
            objects,
        }
    }

    /// The names of the virtual services in the groups at `spec.backendGroups`, in the order of the groups and of
    /// their members. The group `*` contains every service of its namespace.
    ///
    /// A member without a namespace is looked up in the group's namespace. The original used the node's, so that one
    /// group had different services for different nodes.
    pub(super) fn grouped_services(
        &self,
        groups: &[Reference],
    ) -> Result<Vec<String>, ReferenceError> {
        let mut names = Vec::new();
        for (index, reference) in groups.iter().enumerate() {
            let at = FieldPath::from("spec.backendGroups").index(index);
            let (namespace, name) = reference.resolve(self.namespace);
            if name == "*" {
                let services = self.objects.virtual_services();
                let inside = services.filter(|service| {
                    service.metadata.namespace.as_deref() == Some(namespace)
                        && service.spec.mesh_ref.as_ref() == self.mesh
                });
                names.extend(inside.filter_map(|service| service.spec.aws_name.clone()));
                continue;
            }
            let group = self.find(&at, Kind::BackendGroup, namespace, name)?;
            let Resource::BackendGroup(group) = group else {
                continue;
            };
            for member in group.spec.virtual_services.iter().flatten() {
                let (namespace, name) = member.resolve(namespace);
                names.push(self.name_of(&at, Kind::VirtualService, namespace, name)?);
            }
        }
        Ok(names)
    }

    fn name_of(
        &self,
        at: &FieldPath,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<String, ReferenceError> {
        let target = self.find(at, kind, namespace, name)?;
        target.aws_name().map(str::to_owned).ok_or_else(|| {
            ReferenceError::new(at.clone(), kind, namespace, name, TargetProblem::Missing)
        })
    }

    /// An object of the referrer's mesh.
    fn find(
        &self,
        at: &FieldPath,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<&'a Resource, ReferenceError> {
        let mesh = |mesh_ref: Option<&MeshRef>| {
            mesh_ref.map_or("(none)", |mesh| mesh.name.as_str()).into()
        };
        let problem = match self.objects.get(kind, namespace, name) {
            Some(target) if target.mesh_ref() == self.mesh => return Ok(target),
            Some(target) => TargetProblem::OtherMesh {
                theirs: mesh(target.mesh_ref()),
                ours: mesh(self.mesh),
            },
            None => TargetProblem::Missing,
        };
        Err(ReferenceError::new(
            at.clone(),
            kind,
            namespace,
            name,
            problem,
        ))
    }
}
