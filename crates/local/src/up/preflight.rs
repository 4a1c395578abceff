//! Checks before anything starts: options, manifests and the machine.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use tombolo_controller::desired;
use tombolo_kube::inject::SIDECAR;
use tombolo_kube::manifest::{Located, Object};
use tombolo_kube::{ObjectExt, PodSpecExt};
use tombolo_linux::fabric::Ipv4Range;
use tombolo_linux::sandbox::{self, Mode};

use super::options::{ClusterSource, Errors, Options, ProxyKind};
use super::sidecar_config;
use crate::cluster::limits::pod_spec;
use crate::cluster::sidecar_injector::injector;
use crate::cluster::{
    Cluster, Key, Kind, NameGenerator, ObjectStore, Objects, apply, deployment, now,
};
use crate::control_socket::{RunDirError, run_dir};
use crate::images_file::Images;
use crate::kubelet::manifest_warnings;
use crate::mesh_controller;
use crate::network::{check_rule, ip_allocation};

/// Values that follow from the options alone.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedOptions {
    /// The range of each cluster.
    pub(crate) ranges: Vec<Ipv4Range>,
    /// The range of Services.
    pub(crate) services: Ipv4Range,
    /// The images of the images files.
    pub(crate) images: Images,
}

/// The result of a successful check.
#[derive(Debug)]
pub(super) struct PreflightResult {
    /// The kind of sandbox that this machine supports.
    pub(super) mode: Mode,
    /// The listener of the API, already open so that no other process takes the port meanwhile.
    pub(super) api: TcpListener,
    pub(super) warnings: Vec<String>,
}

/// Evaluates the options.
///
/// # Errors
/// Every problem found in them.
pub(crate) fn resolve(options: &Options) -> Result<ResolvedOptions, Errors> {
    let mut errors = Vec::new();
    let names = options.clusters.iter().map(|cluster| cluster.name.as_str());
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        errors.push("no cluster to run; name one with --cluster NAME=MANIFEST".to_owned());
    }
    for (index, name) in names.iter().enumerate() {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=63).contains(&name.len()) || !name.bytes().all(is_plain) {
            errors.push(format!(
                "{name:?} is not a cluster name; use letters, digits, -, _ and ."
            ));
        }
        if names[..index].contains(name) {
            errors.push(format!("cluster {name} is given twice"));
        }
    }
    let rules = options.allow.iter();
    let wrong_rules = rules.filter_map(|rule| check_rule(rule, &names).err());
    errors.extend(wrong_rules.map(|error| error.to_string()));
    let account = &options.account;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        errors.push(format!("account {account:?} is not twelve digits"));
    }
    let mut range = |what: &str, text: &str| {
        let range = text.parse::<Ipv4Range>();
        range
            .map_err(|error| errors.push(format!("{what} {text:?}: {error}")))
            .ok()
    };
    let vpc = range("--vpc", &options.vpc);
    let services = range("the service range", &options.services);
    let mut ranges = Vec::new();
    if let (Some(vpc), Some(services)) = (vpc, services) {
        if ip_allocation::overlap(vpc, services) {
            errors.push(format!(
                "the ranges of pods ({vpc}) and Services ({services}) overlap; choose another --vpc"
            ));
        }
        match ip_allocation::divide(vpc, names.len()) {
            Ok(parts) => ranges = parts,
            Err(error) => errors.push(error.to_string()),
        }
    }
    let mut images = Images::default();
    // Absolute, because the runtime has another working directory; an empty path is the current directory.
    let base = std::path::absolute(Path::new(".").join(&options.images_dir))
        .unwrap_or_else(|_| options.images_dir.clone());
    for source in &options.images {
        match Images::parse(&source.text, &base) {
            Ok(read) => images.extend(read),
            Err(error) => errors.push(format!("{}: {error}", source.name)),
        }
    }
    match services {
        Some(services) if errors.is_empty() => Ok(ResolvedOptions {
            ranges,
            services,
            images,
        }),
        _ => Err(Errors(errors)),
    }
}

/// Evaluates the options, applies all manifests in a dry run, and checks the machine.
///
/// # Errors
/// Every problem found.
pub(super) fn check(options: &Options) -> Result<PreflightResult, Errors> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mode = sandbox::probe();
    let mode = mode.map_err(|error| errors.push(error.to_string())).ok();
    match resolve(options) {
        Ok(resolved) => {
            let rootless = mode == Some(Mode::Rootless);
            manifests(options, &resolved, rootless, &mut errors, &mut warnings);
        }
        Err(found) => errors.extend(found.0),
    }
    if let ProxyKind::Envoy(path) = &options.proxy
        && !path.is_file()
    {
        errors.push(format!("--envoy {}: no such file", path.display()));
    }
    let mut api = None;
    match run_dir::of(&options.name) {
        Ok(dir) if run_dir::alive(&dir) => {
            errors.push(RunDirError::Taken(options.name.clone()).to_string())
        }
        Ok(_) => match listener(options) {
            Ok(listener) => api = Some(listener),
            Err(error) => errors.push(format!(
                "the API cannot listen at {}: {error}; choose another with --api",
                options.api
            )),
        },
        Err(error) => errors.push(error.to_string()),
    }
    match (mode, api) {
        (Some(mode), Some(api)) if errors.is_empty() => Ok(PreflightResult {
            mode,
            api,
            warnings,
        }),
        _ => Err(Errors(errors)),
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

/// The manifest of each object of each cluster.
type Locations = BTreeMap<(usize, Key), Located<Object>>;

fn manifests(
    options: &Options,
    resolved: &ResolvedOptions,
    rootless: bool,
    errors: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    let images = sidecar_config::images(&resolved.images, &options.proxy);
    let mut clusters = Vec::new();
    let mut locations = Locations::new();
    for (index, source) in options.clusters.iter().enumerate() {
        let cluster = Cluster {
            name: source.name.clone(),
            range: resolved.ranges[index],
            services: resolved.services,
            objects: ObjectStore::default(),
            names: NameGenerator::seeded(1).into(),
            inject: injector(sidecar_config::config(options, &[])),
        };
        match apply_dry_run(&cluster, source, |located| {
            missing_images(located, &images, options, errors);
            warnings.extend(manifest_warnings::warnings(located, &images, rootless));
            if let Some(key) = Key::of(&located.object) {
                locations.insert((index, key), located.clone());
            }
        }) {
            Ok(unknown) => warnings.extend(unknown),
            Err(refused) => errors.extend(refused.0),
        }
        clusters.push(cluster);
    }
    if errors.is_empty() {
        reconcile_dry_run(&clusters, &locations, errors);
    }
}

/// Applies the manifests of a cluster to an empty one, after `each` was called with every object. Returns the warnings
/// of reading them.
fn apply_dry_run(
    cluster: &Cluster,
    source: &ClusterSource,
    each: impl FnMut(&Located<Object>),
) -> Result<Vec<String>, Errors> {
    let read = source.read()?;
    let warnings = read.warnings.iter().map(ToString::to_string).collect();
    read.objects.iter().for_each(each);
    create_default_namespaces(cluster);
    let context = cluster.context(now());
    let applied = cluster
        .objects
        .write(|objects| apply::apply(objects, read, &context));
    applied?;
    Ok(warnings)
}

/// Runs the controllers on the objects of the dry run: pods that the injector denies and dangling references are
/// reported now rather than as a pod that never starts.
fn reconcile_dry_run(clusters: &[Cluster], locations: &Locations, errors: &mut Vec<String>) {
    let location = |index: usize, key: &Key| match locations.get(&(index, key.clone())) {
        Some(located) => format!(
            "{}:{}: {}",
            located.origin.file(),
            located.origin.line(),
            located.title()
        ),
        None => format!("{}: {key}", clusters[index].name),
    };
    for (index, cluster) in clusters.iter().enumerate() {
        cluster.reconcile(now());
        for deployment in cluster.objects.read(Objects::list::<Deployment>) {
            if let Some(message) = deployment::failure(&deployment) {
                let key = Key::new(Kind::Deployment, deployment.namespace(), deployment.name());
                let location = location(index, &key);
                errors.push(format!("{location}: its pods are refused: {message}"));
            }
        }
    }
    let views = clusters.iter().map(|cluster| {
        let objects = cluster.objects.read(|objects| objects.mesh().clone());
        (cluster.name.as_str(), objects)
    });
    let views: Vec<_> = views.collect();
    let named: Vec<_> = views
        .iter()
        .map(|(name, objects)| (*name, &**objects))
        .collect();
    for (source, error) in desired(&named).rejected {
        if let Some(key) = mesh_controller::key(&source) {
            errors.push(format!("{}: {error}", location(source.cluster, &key)));
        }
    }
}

/// Reports images without a command, with the line to add to the images file.
fn missing_images(
    located: &Located<Object>,
    images: &Images,
    options: &Options,
    errors: &mut Vec<String>,
) {
    let Some((spec, path)) = pod_spec(&located.object) else {
        return;
    };
    let images_file = options.images.last().map(|source| source.name.as_str());
    let images_file = images_file.unwrap_or("an images file (--images FILE)");
    for (list, index, container) in spec.all_containers() {
        let image = container.image.as_deref().unwrap_or_default();
        // The injector replaces the proxy image of a virtual gateway.
        if images.find(image).is_some() || container.name == SIDECAR {
            continue;
        }
        let field = path.clone().field(list).index(index).field("image");
        errors.push(format!(
            "{}:{}: {}: no command is known for image \"{image}\"; add to {images_file} under images:\n{}",
            located.origin.file(),
            located.origin.line_of(&field),
            located.title(),
            Images::suggestion(image)
        ));
    }
}

/// Creates the namespaces that every cluster has.
pub(crate) fn create_default_namespaces(cluster: &Cluster) {
    for name in ["default", "kube-system"] {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "status": {"phase": "Active"}});
        let key = Key::new(Kind::Namespace, "", name);
        let create = |objects: &mut Objects| objects.create(key, body, now(), &cluster.names);
        cluster.objects.write(create);
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
            &resolve(options).unwrap(),
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
        let problems = resolve(&options).unwrap_err().0;
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
