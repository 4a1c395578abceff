use serde_json::{Value, json};
use tombolo_document::{Limits, yaml};

use super::{ConvertError, Converted, Owner, convert};
use crate::crd::{Kind, Resource};

const OWNER: Owner<'static> = Owner {
    account: "111122223333",
    region: "us-west-2",
};

fn converted(text: &str) -> Result<Converted, ConvertError> {
    let (documents, error) = yaml::read(text, &Limits::default());
    assert!(error.is_none(), "{error:?}");
    convert(
        documents
            .into_iter()
            .map(|document| document.value)
            .collect(),
        OWNER,
    )
}

/// What `kubectl get meshes,virtualnodes,virtualservices -A -o yaml` of the older version prints, and the workload.
const BACKUP: &str = include_str!("backup.yaml");

#[test]
fn a_backup_becomes_objects_that_are_admitted_and_keep_their_names() {
    let Converted { documents, notes } = converted(BACKUP).expect("all of it is known");
    for document in &documents {
        let Some(kind) = document["kind"].as_str().and_then(Kind::from_name) else {
            continue;
        };
        let decoded = Resource::decode(kind, document).expect("it has the kind's shape");
        assert!(
            decoded.unknown.is_empty(),
            "{document}: {:?}",
            decoded.unknown
        );
        assert_eq!(decoded.value.check(), [], "{document}");
        assert_eq!(document["apiVersion"], "appmesh.k8s.aws/v1beta2");
        assert!(document.get("status").is_none());
        assert!(document["metadata"].get("finalizers").is_none());
    }
    let names: Vec<&str> = documents
        .iter()
        .filter_map(|document| document["spec"]["awsName"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "global",
            "front-shop",
            "color-red-shop",
            "color-router-shop",
            "color.shop.local"
        ]
    );
    insta::assert_yaml_snapshot!("a_backup", documents);
    assert_eq!(
        notes,
        [
            "VirtualNode shop/color-red: its podSelector is the attributes of its discovery, because no workload of its \
          name is among the documents; look at it"
        ]
    );
}

#[test]
fn a_retry_policy_without_a_timeout_is_told_with_its_route() {
    let service = json!({
        "apiVersion": "appmesh.k8s.aws/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"meshName": "m", "routes": [{"name": "all", "http": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNodeName": "b.other", "weight": 1}]},
            "retryPolicy": {"maxRetries": 2},
        }}]},
    });
    let error = convert(vec![service], OWNER).expect_err("it needs one");
    assert_eq!(
        error.to_string(),
        "VirtualService shop/a: routes[all].httpRoute.retryPolicy.perRetryTimeoutMillis is not given, and \
         appmesh.k8s.aws/v1beta2 needs it"
    );
}

#[test]
fn two_services_with_different_routes_need_two_routers() {
    let service = |name: &str, node: &str| -> Value {
        json!({
            "apiVersion": "appmesh.k8s.aws/v1beta1",
            "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"meshName": "m", "virtualRouter": {"name": "r"}, "routes": [{"name": "all", "tcp": {
                "action": {"weightedTargets": [{"virtualNodeName": node, "weight": 1}]},
            }}]},
        })
    };
    let same = convert(vec![service("a", "n"), service("b", "n")], OWNER).expect("one router");
    assert_eq!(same.documents.len(), 3);
    let error = convert(vec![service("a", "n"), service("b", "o")], OWNER).expect_err("two");
    assert!(matches!(error, ConvertError::Router { .. }), "{error}");
}

#[test]
fn other_documents_stay_as_they_are() {
    let other =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [other]});
    let converted = convert(vec![list], OWNER).expect("nothing to rewrite");
    assert_eq!(converted.documents, [other]);
    assert_eq!(converted.notes, [""; 0]);
}
