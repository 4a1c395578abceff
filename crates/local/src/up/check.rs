//! Everything that can be known to be wrong before anything starts.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tombolo_controller::desired;
use tombolo_kube::FieldPath;
use tombolo_kube::manifest::{self, Located, Object};
use tombolo_linux::fabric::Ipv4Range;
use tombolo_linux::sandbox::{self, Mode};

use super::options::{Engine, Options, Problems};
use super::sidecar;
use crate::clock;
use crate::cluster::apply;
use crate::cluster::view::{injector, kind};
use crate::cluster::{Cluster, Entropy, Key, Kind, Objects, Shared};
use crate::control::run_dir;
use crate::images::Images;
use crate::mesh;
use crate::network::{address, check_opening};
use crate::pod::warning;

/// What follows from the options alone.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The range of each cluster.
    pub ranges: Vec<Ipv4Range>,
    /// The range of Services.
    pub services: Ipv4Range,
    /// The images that people named.
    pub images: Images,
}

/// The result of a check that found nothing wrong.
#[derive(Debug)]
pub struct Checked {
    /// What kind of sandbox this machine permits.
    pub mode: Mode,
    /// Where the API will be served: open already, so that nobody else can take the port meanwhile.
    pub api: TcpListener,
    /// What is odd but does no harm.
    pub warnings: Vec<String>,
}

/// Reads the options.
///
/// # Errors
/// Everything that is wrong with them.
pub fn plan(options: &Options) -> Result<Plan, Problems> {
    let mut problems = Vec::new();
    let names: Vec<&str> = options
        .clusters
        .iter()
        .map(|cluster| cluster.name.as_str())
        .collect();
    if names.is_empty() {
        problems.push("no cluster to run; name one with --cluster NAME=MANIFEST".to_owned());
    }
    for (index, name) in names.iter().enumerate() {
        let plain = !name.is_empty()
            && name.len() <= 63
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !plain {
            problems.push(format!(
                "{name:?} is not a cluster name; use letters, digits, -, _ and ."
            ));
        }
        if names[..index].contains(name) {
            problems.push(format!("cluster {name} is given twice"));
        }
    }
    problems.extend(
        options
            .allow
            .iter()
            .filter_map(|opening| check_opening(opening, &names).err())
            .map(|error| error.to_string()),
    );
    let account = &options.account;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        problems.push(format!("account {account:?} is not twelve digits"));
    }
    let mut range = |what: &str, text: &str| match text.parse::<Ipv4Range>() {
        Ok(range) => Some(range),
        Err(error) => {
            problems.push(format!("{what} {text:?}: {error}"));
            None
        }
    };
    let (vpc, services) = (
        range("--vpc", &options.vpc),
        range("the service range", &options.services),
    );
    let mut ranges = Vec::new();
    if let (Some(vpc), Some(services)) = (vpc, services) {
        if address::overlap(vpc, services) {
            problems.push(format!(
                "the ranges of pods ({vpc}) and Services ({services}) overlap; choose another --vpc"
            ));
        }
        match address::carve(vpc, names.len()) {
            Ok(carved) => ranges = carved,
            Err(problem) => problems.push(problem),
        }
    }
    let mut images = Images::default();
    // Absolute, because the runtime works elsewhere; an empty directory is the current one.
    let base = std::path::absolute(Path::new(".").join(&options.images_dir))
        .unwrap_or_else(|_| options.images_dir.clone());
    for source in &options.images {
        match Images::parse(&source.text, &base) {
            Ok(read) => images.extend(read),
            Err(problem) => problems.push(format!("{}: {problem}", source.name)),
        }
    }
    match services {
        Some(services) if problems.is_empty() => Ok(Plan {
            ranges,
            services,
            images,
        }),
        _ => Err(Problems(problems)),
    }
}

/// Checks the options, tries all manifests out, and asks the machine for what will be needed.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn check(options: &Options) -> Result<Checked, Problems> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mode = sandbox::probe()
        .map_err(|error| problems.push(error.to_string()))
        .ok();
    match plan(options) {
        Ok(plan) => {
            let rootless = mode == Some(Mode::Rootless);
            manifests(options, &plan, rootless, &mut problems, &mut warnings);
        }
        Err(found) => problems.extend(found.0),
    }
    if let Engine::Envoy(path) = &options.proxy
        && !path.is_file()
    {
        problems.push(format!("--envoy {}: no such file", path.display()));
    }
    let mut api = None;
    match run_dir::of(&options.name) {
        Ok(dir) if run_dir::alive(&dir) => problems.push(run_dir::taken(&options.name)),
        Ok(_) => match listener(options) {
            Ok(listener) => api = Some(listener),
            Err(error) => problems.push(format!(
                "the API cannot listen at {}: {error}; choose another with --api",
                options.api
            )),
        },
        Err(problem) => problems.push(problem),
    }
    match (mode, api) {
        (Some(mode), Some(api)) if problems.is_empty() => Ok(Checked {
            mode,
            api,
            warnings,
        }),
        _ => Err(Problems(problems)),
    }
}

fn listener(options: &Options) -> io::Result<TcpListener> {
    match TcpListener::bind(options.api) {
        Err(error) if options.other_api_port && error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind((options.api.ip(), 0))
        }
        result => result,
    }
}

/// Where each object of each cluster stands.
type Places = BTreeMap<(usize, Key), Located<Object>>;

fn manifests(
    options: &Options,
    plan: &Plan,
    rootless: bool,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    let images = sidecar::images(&plan.images, &options.proxy);
    let mut clusters = Vec::new();
    let mut places = Places::new();
    for (index, source) in options.clusters.iter().enumerate() {
        let cluster = Cluster {
            name: source.name.clone(),
            range: plan.ranges[index],
            services: plan.services,
            objects: Shared::default(),
            entropy: Entropy::seeded(1).into(),
            inject: injector(sidecar::config(options, &[])),
        };
        let sources: Vec<_> = source
            .manifests
            .iter()
            .map(|source| manifest::Source::new(&source.name, &source.text))
            .collect();
        match manifest::read(&sources, &manifest::Options::default()) {
            Ok(read) => {
                warnings.extend(read.warnings.iter().map(ToString::to_string));
                for located in &read.objects {
                    missing_images(located, &images, options, problems);
                    warnings.extend(warning::warnings(located, &images, rootless));
                    if let Some(kind) = kind(&located.object) {
                        let key = Key::new(
                            kind,
                            located.object.namespace().unwrap_or_default(),
                            located.object.name(),
                        );
                        places.insert((index, key), located.clone());
                    }
                }
                let applied = cluster.objects.write(|objects| {
                    default_namespaces(objects, &cluster.entropy, clock::now());
                    apply::apply(
                        objects,
                        read,
                        clock::now(),
                        &cluster.entropy,
                        &cluster.inject,
                    )
                });
                if let Err(refused) = applied {
                    problems.extend(refused.iter().map(ToString::to_string));
                }
            }
            Err(refused) => problems.extend(refused.0.iter().map(ToString::to_string)),
        }
        clusters.push(cluster);
    }
    if problems.is_empty() {
        try_out(&clusters, &places, problems);
    }
}

/// Lets the reconcilers run on the trial objects: pods that the injector denies and references that lead nowhere
/// show now rather than as a pod that never starts.
fn try_out(clusters: &[Cluster], places: &Places, problems: &mut Vec<String>) {
    let place = |index: usize, key: &Key| match places.get(&(index, key.clone())) {
        Some(located) => format!(
            "{}:{}: {}",
            located.origin.file(),
            located.origin.line(),
            located.title()
        ),
        None => format!("{}: {key}", clusters[index].name),
    };
    for (index, cluster) in clusters.iter().enumerate() {
        cluster.reconcile(clock::now());
        for deployment in cluster.objects.read(Objects::list::<Deployment>) {
            let conditions = deployment
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref());
            let failure = conditions
                .into_iter()
                .flatten()
                .find(|condition| condition.type_ == "ReplicaFailure");
            if let Some(message) = failure.and_then(|failure| failure.message.as_ref()) {
                let meta = &deployment.metadata;
                let key = Key::new(
                    Kind::Deployment,
                    meta.namespace.as_deref().unwrap_or_default(),
                    meta.name.as_deref().unwrap_or_default(),
                );
                problems.push(format!(
                    "{}: its pods are refused: {message}",
                    place(index, &key)
                ));
            }
        }
    }
    let views: Vec<_> = clusters
        .iter()
        .map(|cluster| cluster.objects.read(|objects| objects.mesh().clone()))
        .collect();
    let named: Vec<_> = clusters
        .iter()
        .zip(&views)
        .map(|(cluster, view)| (cluster.name.as_str(), view.as_ref()))
        .collect();
    for (source, refused) in desired(&named).refused {
        if let Some(key) = mesh::key(&source) {
            problems.push(format!("{}: {refused}", place(source.cluster, &key)));
        }
    }
}

/// Images that no command is known for, with the line to add.
fn missing_images(
    located: &Located<Object>,
    images: &Images,
    options: &Options,
    problems: &mut Vec<String>,
) {
    let (spec, path) = match &located.object {
        Object::Deployment(deployment) => (
            deployment
                .spec
                .as_ref()
                .and_then(|spec| spec.template.spec.clone()),
            FieldPath::from("spec.template.spec"),
        ),
        Object::Pod(pod) => (pod.spec.clone(), FieldPath::from("spec")),
        _ => return,
    };
    let Some(spec) = spec else { return };
    let lists = [
        ("containers", &spec.containers[..]),
        (
            "initContainers",
            spec.init_containers.as_deref().unwrap_or_default(),
        ),
    ];
    for (list, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let image = container.image.as_deref().unwrap_or_default();
            // The proxy of a virtual gateway: the injector replaces its image.
            if images.find(image).is_some() || container.name == tombolo_kube::inject::SIDECAR {
                continue;
            }
            let line = located
                .origin
                .line_of(&path.clone().field(list).index(index).field("image"));
            let file = options
                .images
                .last()
                .map_or("an images file (--images FILE)", |source| {
                    source.name.as_str()
                });
            problems.push(format!(
                "{}:{line}: {}: no command is known for image \"{image}\"; add to {file} under images:\n{}",
                located.origin.file(),
                located.title(),
                Images::suggestion(image)
            ));
        }
    }
}

/// The namespaces that every cluster has.
pub fn default_namespaces(objects: &mut Objects, entropy: &Entropy, now: Timestamp) {
    for name in ["default", "kube-system"] {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}});
        objects.create(Key::new(Kind::Namespace, "", name), body, now, entropy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::{ClusterSource, Source};

    fn options(manifest: &str, images: &str) -> Options {
        Options {
            clusters: vec![ClusterSource {
                name: "east".into(),
                manifests: vec![Source::new("shop.yaml", manifest)],
            }],
            images: vec![Source::new("images.yaml", images)],
            ..Options::new("check")
        }
    }

    fn found(options: &Options) -> Vec<String> {
        let mut problems = Vec::new();
        manifests(
            options,
            &plan(options).unwrap(),
            false,
            &mut problems,
            &mut Vec::new(),
        );
        problems
    }

    const SHOP: &str = "apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {mesh: m, appmesh.k8s.aws/sidecarInjectorWebhook: enabled}}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {matchLabels: {mesh: m}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example/shop/web:v1
";

    #[test]
    fn unknown_image_is_named_with_its_line_and_the_line_to_add() {
        let problems = found(&options(SHOP, "images: {}"));
        assert!(
            problems[0].starts_with("shop.yaml:20: Deployment shop/web"),
            "{problems:?}"
        );
        assert!(
            problems[0].contains(
                "add to images.yaml under images:\n  \"*/web\": { command: [\"./web\"] }"
            ),
            "{problems:?}"
        );
    }

    #[test]
    fn pods_that_the_injector_would_deny_are_found_before_anything_starts() {
        let problems = found(&options(SHOP, "images: {\"*\": {command: [\"true\"]}}"));
        assert!(
            problems[0].contains("Deployment shop/web: its pods are refused"),
            "{problems:?}"
        );
    }

    #[test]
    fn taken_port_gives_way_to_another_only_where_that_will_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = options("", "");
        options.api = taken.local_addr().unwrap();
        assert_eq!(
            listener(&options).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        options.other_api_port = true;
        let other = listener(&options).unwrap().local_addr().unwrap();
        assert_eq!(other.ip(), options.api.ip());
        assert_ne!(other.port(), options.api.port());
    }

    #[test]
    fn all_problems_of_the_options_come_at_once() {
        let options = Options {
            account: "1".into(),
            vpc: "10.100.0.0/16".into(),
            allow: vec!["a:b:80".parse().unwrap()],
            ..options("", "images: 3")
        };
        let problems = plan(&options).unwrap_err().0;
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
