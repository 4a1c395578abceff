//! Every manifest of the public walkthroughs is read strictly, admitted, converted and accepted by the mesh model,
//! and its pods are injected.
//!
//! The walkthroughs are not part of this project: `TOMBOLO_CORPUS` names their folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use tombolo_kube::admit::{self, IpFamily};
use tombolo_kube::cluster::ClusterObjects;
use tombolo_kube::convert::{ConvertError, Converted, Item, TargetProblem, convert};
use tombolo_kube::crd::{Kind, Resource};
use tombolo_kube::inject::{InjectConfig, Injection, SWITCH, Tracing, XrayDaemon, inject};
use tombolo_kube::manifest::{Located, Object, Options, Source, read};
use tombolo_model::apply::appmesh::Command;
use tombolo_model::{Context, Scope, Timestamp, View, apply};

/// Dangling references of the published walkthroughs: this service refers to a node that no file defines, and nothing
/// calls it, because its pods are reached through a load balancer.
const DANGLING: [&str; 1] = ["VirtualService yelb-ui: spec.provider.virtualNode.virtualNodeRef"];

/// The manifests of each walkthrough, in the order in which it applies them.
fn walkthroughs() -> Option<BTreeMap<String, Vec<PathBuf>>> {
    let root = tombolo_need::variable("TOMBOLO_CORPUS")?;
    let entries = std::fs::read_dir(&root).expect("TOMBOLO_CORPUS names a directory");
    let mut found = BTreeMap::new();
    for entry in entries {
        let directory = entry
            .expect("a readable directory")
            .path()
            .join("manifests");
        let Ok(files) = std::fs::read_dir(&directory) else {
            continue;
        };
        let mut files: Vec<PathBuf> = files
            .map(|file| file.expect("a readable directory").path())
            .collect();
        files.sort();
        let name = directory
            .parent()
            .and_then(Path::file_name)
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        found.insert(name, files);
    }
    assert!(
        !found.is_empty(),
        "{} holds no walkthroughs",
        root.display()
    );
    Some(found)
}

fn source(path: &Path) -> Source {
    let name = path.file_name().expect("a file").to_string_lossy();
    Source::new(
        name,
        std::fs::read_to_string(path).expect("a readable file"),
    )
}

fn objects(path: &Path) -> Vec<Located<Object>> {
    let manifests = read(&[source(path)], &Options::default());
    manifests
        .unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()))
        .into_apply_order()
}

/// A cluster to which a walkthrough is applied, file after file.
#[derive(Default)]
struct Cluster {
    objects: ClusterObjects,
    pods: BTreeMap<String, (String, Pod)>,
    uids: u32,
}

impl Cluster {
    fn apply(&mut self, located: Located<Object>) {
        let namespace = located.object.namespace().unwrap_or_default().to_owned();
        match &located.object {
            Object::Namespace(namespace) => {
                let labels = namespace.metadata.labels.clone().unwrap_or_default();
                self.objects.put_namespace(located.object.name(), labels);
            }
            Object::Mesh(resource) => {
                self.found_in_mesh(&namespace);
                let admitted = self.admit(resource.as_ref().clone());
                let admitted =
                    admitted.unwrap_or_else(|violation| panic!("{}", located.problem(&violation)));
                self.objects.put(admitted);
            }
            Object::Deployment(deployment) => {
                let template = deployment.spec.clone().expect("read with a spec").template;
                let pod = Pod {
                    metadata: template.metadata.unwrap_or_default(),
                    spec: template.spec,
                    status: None,
                };
                self.pods.insert(located.title(), (namespace, pod));
            }
            _ => {}
        }
    }

    fn admit(&mut self, mut resource: Resource) -> Result<Resource, tombolo_kube::Violation> {
        let old = self
            .objects
            .get(resource.kind(), resource.namespace(), resource.name());
        let admitted = match old {
            Some(old) => {
                resource.metadata_mut().uid.clone_from(&old.metadata().uid);
                admit::update(old, resource, IpFamily::V4)
            }
            None => {
                self.uids += 1;
                resource.metadata_mut().uid = Some(format!("uid-{}", self.uids));
                admit::create(resource, &self.objects, IpFamily::V4)
            }
        };
        admitted.map_err(|violations| violations.0[0].clone())
    }

    /// Some walkthroughs create and label the namespace of their mesh objects by hand.
    fn found_in_mesh(&mut self, namespace: &str) {
        if namespace.is_empty() || self.objects.namespace(namespace).is_some() {
            return;
        }
        let selectors = self
            .objects
            .meshes()
            .filter_map(|mesh| mesh.spec.namespace_selector.as_ref());
        let mut labels: BTreeMap<String, String> = selectors
            .flat_map(|selector| selector.match_labels.clone().unwrap_or_default())
            .collect();
        labels.insert(SWITCH.to_owned(), "enabled".to_owned());
        self.objects.put_namespace(namespace, labels);
    }

    /// All convertible objects, and dangling references.
    fn converted(&self) -> (Vec<Converted>, Vec<String>) {
        let (mut converted, mut waiting) = (Vec::new(), Vec::new());
        for resource in Kind::ALL
            .into_iter()
            .flat_map(|kind| self.objects.all(kind))
        {
            match convert(resource, &self.objects) {
                Ok(result) => converted.extend(result),
                Err(ConvertError::Reference(error)) if error.problem == TargetProblem::Missing => {
                    waiting.push(format!("{} {}: {error}", resource.kind(), resource.name()));
                }
                Err(error) => panic!("{} {}: {error}", resource.kind(), resource.name()),
            }
        }
        (converted, waiting)
    }
}

/// A mesh model with the resources of a cluster.
#[derive(Default)]
struct Model {
    view: View,
    revision: u64,
}

impl Model {
    /// Creates or updates everything, parents and targets first. Returns the number of changes.
    fn take(&mut self, converted: Vec<Converted>) -> usize {
        let mut items: Vec<Item> = converted
            .into_iter()
            .flat_map(|each| std::iter::once(each.resource).chain(each.routes))
            .collect();
        items.sort_by(|a, b| (a.key.kind, &a.key).cmp(&(b.key.kind, &b.key)));
        items.into_iter().map(|item| self.put(item)).sum()
    }

    fn put(&mut self, Item { key, spec }: Item) -> usize {
        self.revision += 1;
        let context = Context {
            scope: Scope::new("111122223333", "us-west-2"),
            now: Timestamp(self.revision),
            seed: self.revision,
            limits: tombolo_model::Limits::default(),
        };
        let name = key.to_string();
        let command = match self.view.resource(&context.scope, &key) {
            // Each update is a new version, so a reconciler compares first.
            Some(known) if known.spec == spec => return 0,
            Some(_) => Command::Update {
                key,
                spec,
                client_token: None,
            },
            None => Command::Create {
                key,
                spec,
                tags: Vec::new(),
                client_token: None,
            },
        };
        let applied = apply(
            &self.view,
            &context,
            &tombolo_model::Command::AppMesh(command),
        );
        let changes = applied
            .unwrap_or_else(|rejection| panic!("{name}: {rejection}"))
            .changes;
        for change in &changes {
            self.view.apply(self.revision, change);
        }
        changes.len()
    }
}

#[test]
fn every_walkthrough_is_read_admitted_converted_and_taken_by_the_model() {
    for (name, files) in walkthroughs().into_iter().flatten() {
        let (mut cluster, mut model) = (Cluster::default(), Model::default());
        for file in files {
            for object in objects(&file) {
                cluster.apply(object);
            }
            model.take(cluster.converted().0);
            assert_eq!(
                model.take(cluster.converted().0),
                0,
                "{name}: asking again changes nothing"
            );
        }
        let (converted, waiting) = cluster.converted();
        println!("{name}: {} resources", converted.len());
        let dangling = waiting
            .iter()
            .filter(|error| !DANGLING.iter().any(|known| error.starts_with(known)));
        assert_eq!(
            dangling.count(),
            0,
            "{name} ends with references that lead nowhere: {waiting:#?}"
        );
    }
}

#[test]
fn every_selected_pod_of_a_walkthrough_is_injected_and_injecting_is_repeatable() {
    let mut config = InjectConfig::new("proxy:1", "redirect:1", "us-west-2", "111122223333");
    config.tracing = Tracing::Xray(XrayDaemon::new("xray:1"));
    for (name, files) in walkthroughs().into_iter().flatten() {
        let mut cluster = Cluster::default();
        for object in files.iter().flat_map(|file| objects(file)) {
            cluster.apply(object);
        }
        let (mut injected, mut outside) = (0, BTreeSet::new());
        for (title, (namespace, pod)) in &cluster.pods {
            let result = inject(pod, namespace, &cluster.objects, &config);
            assert_eq!(
                result,
                inject(pod, namespace, &cluster.objects, &config),
                "{title}"
            );
            match result {
                Ok(Injection::Injected { pod, workload }) => {
                    injected += 1;
                    let containers = pod.spec.expect("a pod has a spec").containers;
                    assert!(
                        containers.iter().any(|container| container.name == "envoy"),
                        "{title}"
                    );
                    assert!(
                        workload.resource_path("111122223333").starts_with("mesh/"),
                        "{title}"
                    );
                }
                Ok(Injection::Untouched(why)) => {
                    outside.insert(format!("{title}: {why:?}"));
                }
                Err(violation) => panic!("{name}: {title}: {violation}"),
            }
        }
        println!("{name}: {injected} injected, outside: {outside:#?}");
    }
}

#[test]
fn warnings_are_only_about_tolerated_fields_and_kinds_that_are_not_run() {
    for file in walkthroughs()
        .into_iter()
        .flatten()
        .flat_map(|(_, files)| files)
    {
        let manifests =
            read(&[source(&file)], &Options::default()).expect("every walkthrough is readable");
        for warning in manifests.warnings {
            let text = warning.to_string();
            println!("{text}");
            assert!(
                text.contains("is ignored") || text.contains("not run here"),
                "{text}"
            );
        }
    }
}
