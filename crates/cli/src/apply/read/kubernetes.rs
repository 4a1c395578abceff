//! Manifests of `appmesh.k8s.aws/v1beta2`, converted as by the controller of a cluster.
//!
//! Files may have dangling references. A missing Mesh, gateway or target is looked up on the server, under the name
//! that the controller gives such an object by default.

use super::{Desired, Location, Problems};
use crate::error::Error;
use crate::resource::{
    document_spec::DocumentSpec, filter::Filter, id::Id, kind::Kind, lookup::Lookup,
};
use serde_json::{Value, json};
use tombolo_api::client::Error as ApiError;
use tombolo_kube::{
    ClusterObjects, Violation, admit,
    convert::{self, ConvertError, Converted, Item, ReferenceError, TargetProblem},
    crd::{self, MeshRef, Resource},
    manifest::{self, Located, Manifests, Object, Options, Origin, Source},
};
use tombolo_model::appmesh::{self, ResourceKey};

/// Manifests that belong together.
pub(crate) struct Parsed(Manifests);

/// Parses manifests; also returns warnings.
pub(super) fn parse(
    sources: &[Source],
    options: &Options,
) -> Result<(Parsed, Vec<String>), Problems> {
    let manifests = manifest::read(sources, options).map_err(|problems| Problems(problems.0))?;
    let mut warnings: Vec<String> = manifests.warnings.iter().map(|it| it.to_string()).collect();
    warnings.extend(left_out(&manifests));
    Ok((Parsed(manifests), warnings))
}

impl Parsed {
    /// Whether no object is of a mesh kind.
    pub(super) fn is_empty(&self) -> bool {
        self.mesh_objects().next().is_none()
    }

    /// The resources of the objects, as if these were all objects of a cluster, with the targets of dangling
    /// references looked up on the server.
    pub(super) async fn resolve(
        self,
        lookup: &Lookup,
        mesh: Option<&str>,
    ) -> Result<Vec<Desired>, Error> {
        let mut objects = namespaces(&self.0);
        self.assume_mesh(lookup, mesh, &mut objects).await?;
        self.assume_gateway(lookup, &mut objects).await?;
        let admitted = admit_all(self.0, &mut objects)?;
        let mut desired = Vec::new();
        let mut problems = Problems::default();
        for (resource, origin) in admitted {
            match resolve_one(&resource, &mut objects, lookup).await? {
                Ok(Some(converted)) => {
                    let items = std::iter::once(converted.resource).chain(converted.routes);
                    desired.extend(items.map(|item| of_item(item, &origin)));
                }
                Ok(None) => {}
                Err(error) => {
                    let title = format!("{} {}", resource.kind().name(), resource.name());
                    let problem = super::problem(&origin, Some(title), error.violation());
                    problems.0.push(problem);
                }
            }
        }
        problems.into_result()?;
        Ok(desired)
    }

    fn mesh_objects(&self) -> impl Iterator<Item = &Located<Object>> {
        let objects = self.0.objects.iter();
        objects.filter(|located| matches!(located.object, Object::Mesh(_)))
    }

    fn first_of(&self, kind: crd::Kind) -> Option<&Located<Object>> {
        self.mesh_objects()
            .find(|located| located.object.kind() == kind.name())
    }

    /// Adds a Mesh that selects every namespace if the files have none: the named one, else the only one of the
    /// server.
    async fn assume_mesh(
        &self,
        lookup: &Lookup,
        named: Option<&str>,
        objects: &mut ClusterObjects,
    ) -> Result<(), Error> {
        let Some(first) = self.mesh_objects().next() else {
            return Ok(());
        };
        if self.first_of(crd::Kind::Mesh).is_some() {
            return Ok(());
        }
        let name = match named {
            Some(name) => name.to_owned(),
            None => {
                let meshes = lookup.client.list_meshes().await?;
                let names: Vec<&str> = meshes.iter().map(|mesh| mesh.key.name.as_ref()).collect();
                match names.as_slice() {
                    // Without a mesh, admission reports that a Mesh is missing.
                    [] => return Ok(()),
                    [name] => (*name).to_owned(),
                    several => {
                        let message = format!(
                            "no Mesh is in these files, and the control plane has several: {}; name one with --mesh",
                            several.join(", ")
                        );
                        let violation = Violation::new("metadata.namespace", message);
                        return Err(Problems(vec![first.problem(&violation)]).into());
                    }
                }
            }
        };
        let spec = json!({"awsName": name, "namespaceSelector": {}});
        objects.put(assumed(crd::Kind::Mesh, "", "assumed", spec));
        Ok(())
    }

    /// Adds a gateway that selects every route if the files have none and the mesh has exactly one.
    async fn assume_gateway(
        &self,
        lookup: &Lookup,
        objects: &mut ClusterObjects,
    ) -> Result<(), Error> {
        let Some(route) = self.first_of(crd::Kind::GatewayRoute) else {
            return Ok(());
        };
        let Some(mesh) = objects.mesh("assumed") else {
            return Ok(());
        };
        if self.first_of(crd::Kind::VirtualGateway).is_some() {
            return Ok(());
        }
        let filter = Filter {
            mesh: mesh.spec.aws_name.clone(),
            ..Filter::default()
        };
        let kind = Kind::Mesh(appmesh::Kind::VirtualGateway);
        let gateways = lookup.list(kind, &filter, None).await?;
        let [gateway] = gateways.as_slice() else {
            return Ok(());
        };
        let spec = json!({
            "awsName": gateway.id.name(),
            "namespaceSelector": {},
            "listeners": [{"portMapping": {"port": 80, "protocol": "http"}}],
        });
        let namespace = route.object.namespace().unwrap_or_default();
        let gateway = assumed(crd::Kind::VirtualGateway, namespace, "assumed", spec);
        objects.put(member_of(gateway, mesh_ref(objects)));
        Ok(())
    }
}

/// Converts an object. Targets that are not in the files are looked up on the server.
async fn resolve_one(
    resource: &Resource,
    objects: &mut ClusterObjects,
    lookup: &Lookup,
) -> Result<Result<Option<Converted>, ConvertError>, ApiError> {
    loop {
        let error = match convert::convert(resource, objects) {
            Err(error) => error,
            converted => return Ok(converted),
        };
        let ConvertError::Reference(ReferenceError {
            kind,
            target,
            problem: TargetProblem::Missing,
            ..
        }) = &error
        else {
            return Ok(Err(error));
        };
        let Some(id) = default_id(resource, *kind, &target.namespace, &target.name, objects) else {
            return Ok(Err(error));
        };
        if lookup.find(&id).await?.is_none() {
            return Ok(Err(error));
        }
        let spec = json!({"awsName": id.name()});
        let target = assumed(*kind, &target.namespace, &target.name, spec);
        objects.put(member_of(target, resource.mesh_ref().cloned()));
    }
}

/// The resource that the controller creates for an object by default.
fn default_id(
    referrer: &Resource,
    kind: crd::Kind,
    namespace: &str,
    name: &str,
    objects: &ClusterObjects,
) -> Option<Id> {
    let mesh = objects
        .mesh(&referrer.mesh_ref()?.name)?
        .spec
        .aws_name
        .clone()?;
    let kind_of_api = match kind {
        crd::Kind::VirtualNode => appmesh::Kind::VirtualNode,
        crd::Kind::VirtualRouter => appmesh::Kind::VirtualRouter,
        crd::Kind::VirtualService => appmesh::Kind::VirtualService,
        _ => return None,
    };
    let name = admit::default_name(kind, namespace, name)?;
    Some(Id::Mesh(ResourceKey::new(mesh, kind_of_api, name)))
}

/// A placeholder for an object that is not in the files.
fn assumed(kind: crd::Kind, namespace: &str, name: &str, spec: Value) -> Resource {
    let object = json!({
        "apiVersion": crd::API_VERSION,
        "kind": kind.name(),
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    });
    let source = Source::new("assumed", object.to_string());
    let read = manifest::read(&[source], &Options::default()).map(|read| read.objects);
    let object = read.ok().and_then(|mut objects| objects.pop());
    match object.map(|located| located.object) {
        Some(Object::Mesh(resource)) => *resource,
        _ => unreachable!("an object of a mesh kind is read as one"),
    }
}

fn member_of(mut resource: Resource, mesh: Option<MeshRef>) -> Resource {
    if let Some(slot) = resource.mesh_ref_mut() {
        *slot = mesh;
    }
    resource
}

/// The membership that admission writes into objects of the assumed mesh.
fn mesh_ref(objects: &ClusterObjects) -> Option<MeshRef> {
    let mesh = objects.mesh("assumed")?;
    Some(MeshRef {
        name: mesh.metadata.name.clone().unwrap_or_default(),
        uid: mesh.metadata.uid.clone().unwrap_or_default(),
    })
}

/// Objects that only a cluster can run.
fn left_out(manifests: &Manifests) -> Vec<String> {
    let is_for_clusters = |located: &&Located<Object>| {
        !matches!(located.object, Object::Mesh(_) | Object::Namespace(_))
    };
    let message = |located: &Located<Object>| {
        let (file, line) = (located.origin.file(), located.origin.line());
        format!(
            "{file}:{line}: {} is left out: a control plane alone runs no such objects",
            located.title()
        )
    };
    let objects = manifests.objects.iter().filter(is_for_clusters);
    objects.map(message).collect()
}

/// A cluster with the namespaces of manifests, and those that their objects are in.
fn namespaces(manifests: &Manifests) -> ClusterObjects {
    let mut objects = ClusterObjects::new();
    for located in &manifests.objects {
        if let Some(namespace) = located.object.namespace()
            && objects.namespace(namespace).is_none()
        {
            objects.put_namespace(namespace, Default::default());
        }
        if let Object::Namespace(namespace) = &located.object {
            let labels = namespace.metadata.labels.clone().unwrap_or_default();
            objects.put_namespace(located.object.name(), labels);
        }
    }
    objects
}

fn admit_all(
    manifests: Manifests,
    objects: &mut ClusterObjects,
) -> Result<Vec<(Resource, Origin)>, Problems> {
    let mut admitted = Vec::new();
    let mut problems = Problems::default();
    for located in manifests.into_apply_order() {
        let Object::Mesh(resource) = &located.object else {
            continue;
        };
        let family = admit::IpFamily::V4;
        match admit::create(Resource::clone(resource), objects, family) {
            Ok(resource) => {
                objects.put(resource.clone());
                admitted.push((resource, located.origin));
            }
            Err(violations) => {
                let violations = violations.0.iter();
                problems
                    .0
                    .extend(violations.map(|violation| located.problem(violation)));
            }
        }
    }
    problems.into_result().map(|()| admitted)
}

fn of_item(item: Item, origin: &Origin) -> Desired {
    Desired {
        id: Id::Mesh(item.key),
        content: DocumentSpec::Mesh(item.spec),
        tags: None,
        location: Location {
            origin: origin.clone(),
            spec: "spec".into(),
            name: "metadata.name".into(),
            container: "spec".into(),
        },
    }
}
