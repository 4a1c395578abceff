//! References between objects, resolved to names of the mesh API.

use tombolo_model::appmesh::Kind as ModelKind;
use tombolo_model::arn;

use crate::cluster::{ClusterObjects, ObjectKey};
use crate::crd::{Kind, Mesh, MeshRef, Reference, Resource, VirtualGatewayRef};
use crate::field::FieldPath;

/// Why a reference leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The target is not there, or not admitted yet. Try again when it is.
    #[error("{field}: {kind} {target} is not there; create it, or correct the reference")]
    Missing {
        /// The field that refers.
        field: FieldPath,
        /// Kind of the target.
        kind: Kind,
        /// Namespace and name of the target.
        target: ObjectKey,
    },
    /// The target is in another mesh.
    #[error(
        "{field}: {kind} {target} is in mesh {theirs}, this object in mesh {ours}; both must share one mesh"
    )]
    OtherMesh {
        /// The field that refers.
        field: FieldPath,
        /// Kind of the target.
        kind: Kind,
        /// Namespace and name of the target.
        target: ObjectKey,
        /// Mesh of the target.
        theirs: Box<str>,
        /// Mesh of the referrer.
        ours: Box<str>,
    },
    /// The target was deleted and created anew since the referrer was admitted.
    #[error(
        "{field}: {kind} {target} was recreated since this object was admitted; delete this object and create it anew"
    )]
    Recreated {
        /// The field that refers.
        field: FieldPath,
        /// Kind of the target.
        kind: Kind,
        /// Namespace and name of the target.
        target: ObjectKey,
    },
    /// An ARN that names nothing of the expected type.
    #[error(
        "{field}: {arn:?} does not name a {expected}; write arn:aws:appmesh:<region>:<account>:mesh/<mesh>/{expected}/<name>"
    )]
    WrongArn {
        /// The field that refers.
        field: FieldPath,
        /// What it holds.
        arn: String,
        /// The type it should name, as ARNs write it.
        expected: &'static str,
    },
}

impl ReferenceError {
    /// The field that refers.
    pub fn field(&self) -> &FieldPath {
        match self {
            Self::Missing { field, .. }
            | Self::OtherMesh { field, .. }
            | Self::Recreated { field, .. }
            | Self::WrongArn { field, .. } => field,
        }
    }

    /// The message without the field.
    pub(super) fn reason(&self) -> String {
        let message = self.to_string();
        let prefix = format!("{}: ", self.field());
        message
            .strip_prefix(&prefix)
            .map_or(message.clone(), str::to_owned)
    }
}

/// The mesh that an object was admitted into. An empty uid is not compared: whoever admitted it has none.
pub(super) fn mesh<'a>(
    mesh_ref: &MeshRef,
    objects: &'a ClusterObjects,
) -> Result<&'a Mesh, ReferenceError> {
    let field = || FieldPath::from("spec.meshRef");
    let target = || ObjectKey::new("", mesh_ref.name.clone());
    let mesh = objects.mesh(&mesh_ref.name);
    let mesh = mesh.ok_or_else(|| ReferenceError::Missing {
        field: field(),
        kind: Kind::Mesh,
        target: target(),
    })?;
    if is_same(&mesh_ref.uid, mesh.metadata.uid.as_deref()) {
        Ok(mesh)
    } else {
        Err(ReferenceError::Recreated {
            field: field(),
            kind: Kind::Mesh,
            target: target(),
        })
    }
}

/// The name in the mesh API of the gateway that a route was admitted to.
pub(super) fn gateway(
    gateway_ref: &VirtualGatewayRef,
    own_namespace: &str,
    objects: &ClusterObjects,
) -> Result<String, ReferenceError> {
    let field = || FieldPath::from("spec.virtualGatewayRef");
    let namespace = gateway_ref.namespace.as_deref().unwrap_or(own_namespace);
    let target = || ObjectKey::new(namespace, gateway_ref.name.clone());
    let missing = || ReferenceError::Missing {
        field: field(),
        kind: Kind::VirtualGateway,
        target: target(),
    };
    let gateway = objects
        .virtual_gateway(namespace, &gateway_ref.name)
        .ok_or_else(missing)?;
    if !is_same(&gateway_ref.uid, gateway.metadata.uid.as_deref()) {
        return Err(ReferenceError::Recreated {
            field: field(),
            kind: Kind::VirtualGateway,
            target: target(),
        });
    }
    gateway.spec.aws_name.clone().ok_or_else(missing)
}

fn is_same(recorded: &str, uid: Option<&str>) -> bool {
    recorded.is_empty() || uid.is_none_or(|uid| uid == recorded)
}

/// Resolves the references of one object.
pub(super) struct Resolver<'a> {
    namespace: &'a str,
    mesh: Option<&'a MeshRef>,
    /// `None` believes that every reference leads somewhere.
    objects: Option<&'a ClusterObjects>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(resource: &'a Resource, objects: &'a ClusterObjects) -> Self {
        Self {
            namespace: resource.namespace(),
            mesh: resource.mesh_ref(),
            objects: Some(objects),
        }
    }

    /// A resolver that takes every reference to lead somewhere, and its name for the target's.
    pub(super) fn believing(resource: &'a Resource) -> Self {
        Self {
            namespace: resource.namespace(),
            mesh: resource.mesh_ref(),
            objects: None,
        }
    }

    /// The name of the virtual service that stands at `at`, by reference or by ARN. The ARN wins.
    pub(super) fn virtual_service(
        &self,
        at: &FieldPath,
        reference: Option<&Reference>,
        arn: Option<&str>,
    ) -> Result<String, ReferenceError> {
        self.resolve(
            at,
            Kind::VirtualService,
            ModelKind::VirtualService,
            reference,
            arn,
        )
    }

    /// As [`Self::virtual_service`], for a virtual node.
    pub(super) fn virtual_node(
        &self,
        at: &FieldPath,
        reference: Option<&Reference>,
        arn: Option<&str>,
    ) -> Result<String, ReferenceError> {
        self.resolve(
            at,
            Kind::VirtualNode,
            ModelKind::VirtualNode,
            reference,
            arn,
        )
    }

    /// As [`Self::virtual_service`], for a virtual router.
    pub(super) fn virtual_router(
        &self,
        at: &FieldPath,
        reference: Option<&Reference>,
        arn: Option<&str>,
    ) -> Result<String, ReferenceError> {
        self.resolve(
            at,
            Kind::VirtualRouter,
            ModelKind::VirtualRouter,
            reference,
            arn,
        )
    }

    /// The names of the virtual services that the groups at `spec.backendGroups` hold, in the order of the
    /// groups and of their members. The group `*` holds every service of its namespace.
    ///
    /// A member without a namespace is looked for in the group's own namespace. The original looked in the
    /// node's, so that one group meant different services to different nodes.
    pub(super) fn grouped_services(
        &self,
        groups: &[Reference],
    ) -> Result<Vec<String>, ReferenceError> {
        let Some(objects) = self.objects else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for (index, reference) in groups.iter().enumerate() {
            let at = FieldPath::from("spec.backendGroups").index(index);
            let (namespace, name) = reference.resolve(self.namespace);
            if name == "*" {
                let services = objects.virtual_services();
                let inside = services.filter(|service| {
                    service.metadata.namespace.as_deref() == Some(namespace)
                        && service.spec.mesh_ref.as_ref() == self.mesh
                });
                names.extend(inside.filter_map(|service| service.spec.aws_name.clone()));
                continue;
            }
            let group = self.find(objects, &at, Kind::BackendGroup, namespace, name)?;
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

    fn resolve(
        &self,
        at: &FieldPath,
        kind: Kind,
        model_kind: ModelKind,
        reference: Option<&Reference>,
        arn: Option<&str>,
    ) -> Result<String, ReferenceError> {
        let expected = model_kind.path_word();
        if let Some(arn) = arn {
            let field = at.clone().field(format!("{expected}ARN"));
            let named = arn::parse_resource(arn).filter(|named| named.key.kind == model_kind);
            return match named {
                // Mesh, owner and region of the ARN are dropped: the name is looked up in the referrer's mesh.
                Some(named) => Ok(named.key.name.to_string()),
                None => Err(ReferenceError::WrongArn {
                    field,
                    arn: arn.to_owned(),
                    expected,
                }),
            };
        }
        let field = at.clone().field(format!("{expected}Ref"));
        let (namespace, name) = reference.map_or((self.namespace, ""), |reference| {
            reference.resolve(self.namespace)
        });
        self.name_of(&field, kind, namespace, name)
    }

    fn name_of(
        &self,
        at: &FieldPath,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<String, ReferenceError> {
        let Some(objects) = self.objects else {
            return Ok(name.to_owned());
        };
        let target = self.find(objects, at, kind, namespace, name)?;
        target
            .aws_name()
            .map(str::to_owned)
            .ok_or_else(|| ReferenceError::Missing {
                field: at.clone(),
                kind,
                target: ObjectKey::new(namespace, name),
            })
    }

    /// An object of the referrer's mesh.
    fn find(
        &self,
        objects: &'a ClusterObjects,
        at: &FieldPath,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<&'a Resource, ReferenceError> {
        let key = || ObjectKey::new(namespace, name);
        let Some(target) = objects.get(kind, namespace, name) else {
            return Err(ReferenceError::Missing {
                field: at.clone(),
                kind,
                target: key(),
            });
        };
        if target.mesh_ref() == self.mesh {
            return Ok(target);
        }
        let mesh = |mesh_ref: Option<&MeshRef>| {
            mesh_ref.map_or_else(|| "(none)".to_owned(), |mesh| mesh.name.clone())
        };
        Err(ReferenceError::OtherMesh {
            field: at.clone(),
            kind,
            target: key(),
            theirs: mesh(target.mesh_ref()).into(),
            ours: mesh(self.mesh).into(),
        })
    }
}
