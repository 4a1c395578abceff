//! The manifests name each other across two files and clusters; a slip would show only when they run.

use super::*;
use saphyr::{LoadableYamlNode, Yaml};
use std::collections::BTreeSet;

fn documents(text: &'static str) -> Vec<Yaml<'static>> {
    let documents = Yaml::load_from_str(text).expect("YAML");
    // A file that opens with a comment and `---` begins with an empty document.
    documents
        .into_iter()
        .filter(|document| document.is_mapping())
        .collect()
}

fn word<'a>(value: &'a Yaml<'_>, path: &[&str]) -> Option<&'a str> {
    let mut value = value;
    for key in path {
        value = value.as_mapping_get(key)?;
    }
    value.as_str()
}

fn of_kind<'a>(documents: &'a [Yaml<'static>], kind: &str) -> Vec<&'a Yaml<'static>> {
    let is_kind = |document: &&Yaml<'_>| word(document, &["kind"]) == Some(kind);
    documents.iter().filter(is_kind).collect()
}

#[test]
fn every_object_has_its_identity_once() {
    let Manifests {
        cluster1, cluster2, ..
    } = manifests();
    for text in [cluster1, cluster2] {
        let mut seen = BTreeSet::new();
        let documents = documents(text);
        for document in &documents {
            assert!(word(document, &["apiVersion"]).is_some());
            let kind = word(document, &["kind"]).expect("a kind");
            let name = word(document, &["metadata", "name"]).expect("a name");
            let namespace = word(document, &["metadata", "namespace"]);
            let is_global = ["Mesh", "Namespace"].contains(&kind);
            assert_eq!(namespace.is_none(), is_global, "{kind} {name}");
            assert!(seen.insert((kind, namespace, name)), "{kind} {name} twice");
        }
    }
}

#[test]
fn the_clusters_agree_on_mesh_names_and_images() {
    let Manifests {
        cluster1,
        cluster2,
        images,
    } = manifests();
    let (one, two) = (documents(cluster1), documents(cluster2));
    assert_eq!(of_kind(&one, "Mesh"), of_kind(&two, "Mesh"));
    assert_eq!(of_kind(&one, "Namespace")[0], of_kind(&two, "Namespace")[0]);

    // The front's backend is the virtual service of the other cluster, and a service here has its name.
    let service = of_kind(&two, "VirtualService")[0];
    let name = word(service, &["spec", "awsName"]).expect("a name");
    let mesh = word(of_kind(&one, "Mesh")[0], &["metadata", "name"]).expect("a name");
    assert!(cluster1.contains(&format!(":mesh/{mesh}/virtualService/{name}\n")));
    assert!(cluster1.contains(&format!("value: {name}:8080\n")));
    let here = of_kind(&one, "Service").into_iter().any(|service| {
        let part = |key| word(service, &["metadata", key]).expect("a word");
        format!("{}.{}.svc.cluster.local", part("name"), part("namespace")) == name
    });
    assert!(here);

    // Every image that a container has runs something.
    let known = &documents(images)[0];
    for line in cluster1.lines().chain(cluster2.lines()) {
        if let Some(image) = line.trim().strip_prefix("image: ") {
            let entry = known
                .as_mapping_get("images")
                .and_then(|images| images.as_mapping_get(image));
            assert!(entry.is_some(), "{image}");
        }
    }
    for program in PROGRAMS {
        assert!(images.contains(&format!("[\"{{tombolo}}\", \"app\", \"{program}\"]")));
    }
}
