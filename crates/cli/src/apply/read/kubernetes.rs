//! Manifests of `appmesh.k8s.aws/v1beta2`: what the controller of a cluster would ask the mesh API for.

use super::{Place, Problems, Wanted};
use crate::command::resource::{content::Content, id::Id};
use tombolo_kube::{
    ClusterObjects, admit,
    convert::{self, Item},
    crd::Resource,
    manifest::{self, Located, Manifests, Object, Options, Origin, Source},
};

/// What was read, and what is odd about it.
pub(super) struct Read {
    pub(super) wanted: Vec<Wanted>,
    pub(super) warnings: Vec<String>,
}

/// Reads manifests that belong together, as if their objects were all that a cluster has.
pub(super) fn read(sources: &[Source], options: &Options) -> Result<Read, Problems> {
    let manifests = manifest::read(sources, options).map_err(|problems| Problems(problems.0))?;
    let mut warnings: Vec<String> = manifests.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(left_out(&manifests));
    let (objects, admitted) = admit(manifests)?;
    let mut wanted = Vec::new();
    let mut problems = Problems::default();
    for (resource, origin) in admitted {
        match convert::convert(&resource, &objects) {
            Ok(Some(converted)) => {
                let items = std::iter::once(converted.resource).chain(converted.routes);
                wanted.extend(items.map(|item| of_item(item, &origin)));
            }
            Ok(None) => {}
            Err(error) => {
                let title = format!("{} {}", resource.kind().name(), resource.name());
                let problem = super::problem(&origin, Some(title), error.denial());
                problems.0.push(problem);
            }
        }
    }
    problems.none().map(|()| Read { wanted, warnings })
}

/// Objects that only a cluster can run.
fn left_out(manifests: &Manifests) -> Vec<String> {
    let is_for_clusters = |located: &&Located<Object>| {
        !matches!(located.object, Object::Mesh(_) | Object::Namespace(_))
    };
    let word = |located: &Located<Object>| {
        let (file, line) = (located.origin.file(), located.origin.line());
        format!(
            "{file}:{line}: {} is left out: a control plane alone runs no such objects",
            located.title()
        )
    };
    let objects = manifests.objects.iter().filter(is_for_clusters);
    objects.map(word).collect()
}

type Admitted = Vec<(Resource, Origin)>;

fn admit(manifests: Manifests) -> Result<(ClusterObjects, Admitted), Problems> {
    let mut objects = ClusterObjects::new();
    let mut admitted = Vec::new();
    let mut problems = Problems::default();
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
    for located in manifests.into_apply_order() {
        let Object::Mesh(resource) = &located.object else {
            continue;
        };
        let family = admit::IpFamily::V4;
        match admit::create(Resource::clone(resource), &objects, family) {
            Ok(resource) => {
                objects.put(resource.clone());
                admitted.push((resource, located.origin));
            }
            Err(denials) => {
                let denials = denials.0.iter();
                problems
                    .0
                    .extend(denials.map(|denial| located.problem(denial)));
            }
        }
    }
    problems.none().map(|()| (objects, admitted))
}

fn of_item(item: Item, origin: &Origin) -> Wanted {
    Wanted {
        id: Id::Mesh(item.key),
        content: Content::Mesh(item.spec),
        tags: None,
        place: Place {
            origin: origin.clone(),
            spec: "spec".into(),
            name: "metadata.name".into(),
            beside: "spec".into(),
        },
    }
}
