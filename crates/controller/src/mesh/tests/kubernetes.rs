//! What only clusters have whose objects are held by finalizers.

use super::*;
use tombolo_kube::finalizer;

pub(super) fn run_kubernetes(clusters: &[Arc<FakeCluster>], api: &Arc<FakeApi>) {
    let options = Options {
        adopt: true,
        ..Options::new("kubernetes")
    };
    let controller = Controller::new(clusters.to_vec(), api.clone(), options, Arc::new(|_| {}));
    tokio::spawn(controller.run(Arc::new(Notify::new())));
}

fn problem(cluster: &FakeCluster, object: &str) -> Option<Problem> {
    cluster.status(object).and_then(|status| status.problem)
}

fn is_gone(cluster: &FakeCluster, kind: ObjectKind, name: &str) -> bool {
    let namespace = if kind == ObjectKind::Mesh { "" } else { "shop" };
    cluster.object(kind, namespace, name).is_none()
}

#[tokio::test(start_paused = true)]
async fn objects_are_held_before_their_resources_exist_and_let_go_after_them() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    cluster.apply(&[MESH, &node("red", 8080), &router("r", "red")].concat());
    run_kubernetes(std::slice::from_ref(&cluster), &api);
    settled(
        &cluster,
        &["Mesh m", "VirtualNode shop/red", "VirtualRouter shop/r"],
    )
    .await;
    assert_eq!(
        cluster.finalizers("VirtualNode shop/red"),
        [finalizer::APP_MESH]
    );
    assert_eq!(
        cluster.finalizers("Mesh m"),
        [finalizer::APP_MESH, finalizer::MESH_MEMBERS]
    );
    // As when a namespace goes: everything at once, in any order.
    let started = Instant::now();
    cluster.delete(ObjectKind::Mesh, "", "m");
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    cluster.delete(ObjectKind::VirtualRouter, "shop", "r");
    for (kind, name) in [
        (ObjectKind::VirtualRouter, "r"),
        (ObjectKind::VirtualNode, "red"),
        (ObjectKind::Mesh, "m"),
    ] {
        until(name, || is_gone(&cluster, kind, name)).await;
    }
    assert_eq!(api.resources(), Vec::<String>::new());
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_mesh_waits_for_its_members_and_says_so() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    cluster.apply(&[MESH, &node("red", 8080)].concat());
    run_kubernetes(std::slice::from_ref(&cluster), &api);
    settled(&cluster, &["VirtualNode shop/red"]).await;
    cluster.delete(ObjectKind::Mesh, "", "m");
    until("the reason", || {
        problem(&cluster, "Mesh m")
            .is_some_and(|problem| problem.reason == Reason::PendingMembersDeletion)
    })
    .await;
    assert_eq!(
        problem(&cluster, "Mesh m").unwrap().message,
        "it is being deleted and waits for 1 VirtualNode to go first"
    );
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(!is_gone(&cluster, ObjectKind::Mesh, "m"));
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    let last = Instant::now();
    until("the end of the mesh", || {
        is_gone(&cluster, ObjectKind::Mesh, "m")
    })
    .await;
    assert!(
        last.elapsed() < Duration::from_secs(1),
        "{:?}",
        last.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_a_route_names_goes_as_soon_as_the_route_does() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    cluster.apply(
        &[
            MESH,
            &node("red", 8080),
            &node("blue", 8080),
            &router("r", "red"),
        ]
        .concat(),
    );
    run_kubernetes(std::slice::from_ref(&cluster), &api);
    settled(&cluster, &["VirtualRouter shop/r", "VirtualNode shop/blue"]).await;
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    until("the reason", || {
        problem(&cluster, "VirtualNode shop/red")
            .is_some_and(|problem| problem.message.contains("ResourceInUseException"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    cluster.apply(&router("r", "blue"));
    let changed = Instant::now();
    until("the end of the node", || {
        is_gone(&cluster, ObjectKind::VirtualNode, "red")
    })
    .await;
    assert!(
        changed.elapsed() < Duration::from_secs(1),
        "{:?}",
        changed.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_controller_made_without_a_tag_is_taken_over() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    cluster.apply(&[MESH, &node("red", 8080), &router("r", "red")].concat());
    api.set(
        &ResourceKey::mesh("m"),
        Some(Spec::Mesh(Default::default())),
        None,
    );
    api.set(&key("red"), Some(with_port(1)), None);
    let route = |name: &str| ResourceKey::child("m", Kind::Route, "r_shop", name);
    run_kubernetes(std::slice::from_ref(&cluster), &api);
    settled(
        &cluster,
        &["Mesh m", "VirtualNode shop/red", "VirtualRouter shop/r"],
    )
    .await;
    assert_eq!(port(api.spec(&key("red"))), 8080);
    let spec = api.spec(&route("all"));
    api.set(&route("forgotten"), spec, None);
    until("the end of a route that no object has", || {
        api.spec(&route("forgotten")).is_none()
    })
    .await;
    cluster.delete(ObjectKind::VirtualRouter, "shop", "r");
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    cluster.delete(ObjectKind::Mesh, "", "m");
    until("the end of all", || api.resources().is_empty()).await;
    until("the end of the mesh", || {
        is_gone(&cluster, ObjectKind::Mesh, "m")
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_mesh_that_others_are_in_is_left_and_goes_with_the_last_of_them() {
    let (east, west) = (
        FakeCluster::kubernetes("east"),
        FakeCluster::kubernetes("west"),
    );
    let api = Arc::new(FakeApi::default());
    east.apply(&[MESH, &node("red", 8080)].concat());
    west.apply(&[MESH, &node("blue", 8080)].concat());
    // Two controllers that do not know of each other.
    run_kubernetes(std::slice::from_ref(&east), &api);
    settled(&east, &["VirtualNode shop/red"]).await;
    run_kubernetes(std::slice::from_ref(&west), &api);
    settled(&west, &["VirtualNode shop/blue"]).await;
    east.delete(ObjectKind::VirtualNode, "shop", "red");
    east.delete(ObjectKind::Mesh, "", "m");
    until("the end in the east", || {
        is_gone(&east, ObjectKind::Mesh, "m")
    })
    .await;
    assert_eq!(api.resources(), ["mesh/m", "mesh/m/virtualNode/blue_shop"]);
    west.delete(ObjectKind::VirtualNode, "shop", "blue");
    west.delete(ObjectKind::Mesh, "", "m");
    until("the end in the west", || {
        is_gone(&west, ObjectKind::Mesh, "m")
    })
    .await;
    assert!(api.resources().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_mesh_is_gone_is_found_by_the_arn_in_its_status_and_let_go() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    cluster.apply(&[MESH, &node("red", 8080), &node("blue", 8080)].concat());
    let old = cluster
        .object(ObjectKind::VirtualNode, "shop", "red")
        .unwrap();
    let mut old = old;
    *old.status_mut() = Some(json!({
        "virtualNodeARN": "arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualNode/red_shop"
    }));
    cluster.put_as_is(old);
    for name in ["red", "blue"] {
        let object = cluster
            .object(ObjectKind::VirtualNode, "shop", name)
            .unwrap();
        cluster.hold(&ObjectRef::of(0, &object)).await.unwrap();
        cluster.delete(ObjectKind::VirtualNode, "shop", name);
    }
    cluster.delete(ObjectKind::Mesh, "", "m");
    api.set(&key("red"), Some(with_port(80)), None);
    run_kubernetes(std::slice::from_ref(&cluster), &api);
    for name in ["red", "blue"] {
        until(name, || is_gone(&cluster, ObjectKind::VirtualNode, name)).await;
    }
    assert!(api.spec(&key("red")).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_object_that_nobody_admitted_is_admitted() {
    let (cluster, api) = (
        FakeCluster::kubernetes("east"),
        Arc::new(FakeApi::default()),
    );
    cluster.apply(&[MESH, &node("red", 8080)].concat());
    let mut bare = cluster
        .object(ObjectKind::VirtualNode, "shop", "red")
        .unwrap();
    *bare.mesh_ref_mut().unwrap() = None;
    *bare.aws_name_mut().unwrap() = None;
    cluster.put_as_is(bare);
    let mut mesh = cluster.object(ObjectKind::Mesh, "", "m").unwrap();
    *mesh.aws_name_mut().unwrap() = None;
    cluster.put_as_is(mesh);
    run_kubernetes(std::slice::from_ref(&cluster), &api);
    settled(&cluster, &["VirtualNode shop/red"]).await;
    assert!(api.spec(&key("red")).is_some());
    let without_mesh = |call: &String| call.contains("mesh//");
    assert!(!api.calls().iter().any(without_mesh));
}
