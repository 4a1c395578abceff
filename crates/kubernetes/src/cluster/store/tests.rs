use super::*;
use serde_json::{Value, json};

fn object(json: Value) -> DynamicObject {
    serde_json::from_value(json).unwrap()
}

fn mesh(version: &str, status: Option<&str>) -> DynamicObject {
    let mut mesh = json!({
        "apiVersion": "appmesh.k8s.aws/v1beta2",
        "kind": "Mesh",
        "metadata": {
            "name": "m", "uid": "1", "generation": 1, "resourceVersion": version,
            "finalizers": ["finalizers.appmesh.k8s.aws/mesh-members"],
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {"awsName": "m"},
    });
    if let Some(arn) = status {
        mesh["status"] = json!({"meshARN": arn});
    }
    object(mesh)
}

fn put(store: &Store, object: DynamicObject) {
    store.put(decode(Kind::Mesh, object).unwrap());
}

fn reference() -> ObjectRef {
    ObjectRef {
        cluster: 0,
        kind: Kind::Mesh,
        namespace: String::new(),
        name: "m".to_owned(),
    }
}

#[test]
fn a_change_of_the_status_alone_wakes_nobody_and_is_known() {
    let store = Store::default();
    put(&store, mesh("1", None));
    let (objects, mut changes) = (store.objects(), store.changes());
    changes.mark_unchanged();
    put(&store, mesh("2", Some("arn:m")));
    assert!(!changes.has_changed().unwrap());
    assert!(Arc::ptr_eq(&objects, &store.objects()));
    let known = store.get(&reference()).unwrap();
    assert_eq!(known.status(), Some(&json!({"meshARN": "arn:m"})));
    assert_eq!(known.metadata().managed_fields, None);
}

#[test]
fn an_answer_that_comes_after_the_end_of_its_object_does_not_bring_it_back() {
    let store = Store::default();
    put(&store, mesh("1", None));
    store.remove(Kind::Mesh, "", "m");
    store.put_if_known(Kind::Mesh, mesh("2", None));
    assert_eq!(store.get(&reference()), None);
    assert_eq!(store.objects().meshes().count(), 0);
}

#[test]
fn an_answer_that_the_watch_has_overtaken_is_dropped() {
    let store = Store::default();
    put(&store, mesh("10", Some("arn:new")));
    store.put_if_known(Kind::Mesh, mesh("9", Some("arn:old")));
    let known = store.get(&reference()).unwrap();
    assert_eq!(known.status(), Some(&json!({"meshARN": "arn:new"})));
}

#[test]
fn what_a_new_list_does_not_have_is_gone() {
    let store = Store::default();
    put(&store, mesh("1", None));
    store.retain(Kind::VirtualNode, &BTreeSet::new());
    assert!(store.get(&reference()).is_some());
    store.retain(Kind::Mesh, &BTreeSet::new());
    assert_eq!(store.get(&reference()), None);
}

#[test]
fn an_object_that_is_not_understood_is_named() {
    let mut mesh = mesh("1", None);
    mesh.data["spec"] = json!({"egressFilter": 7});
    let error = decode(Kind::Mesh, mesh).unwrap_err().to_string();
    assert!(error.starts_with("Mesh /m is not understood: "), "{error}");
}

#[test]
fn pods_change_when_what_is_read_of_them_does() {
    let pod = |ready: &str, probed: &str| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "red"}, "resourceVersion": probed},
            "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "x"}]},
            "status": {
                "podIP": "10.0.0.1",
                "conditions": [
                    {"type": "ContainersReady", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    {"type": "PodScheduled", "status": "True"},
                ],
            },
        }))
        .unwrap()
    };
    let store = Store::default();
    store.put_pod(pod("False", "1"));
    let mut changes = store.changes();
    changes.mark_unchanged();
    store.put_pod(pod("False", "2"));
    assert!(!changes.has_changed().unwrap());
    store.put_pod(pod("True", "3"));
    assert!(changes.has_changed().unwrap());
    let kept = store.pod("shop", "p").unwrap();
    assert_eq!(kept.spec.as_ref().unwrap().containers, Vec::new());
    assert_eq!(
        tombolo_kube::register::classify(&kept),
        tombolo_kube::register::PodClass::Ready
    );
}
