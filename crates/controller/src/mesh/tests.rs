//! Tests of the mesh controller with an API in memory whose failures the tests choose. Time is virtual.

mod kubernetes;
mod transcript;

use super::*;
use crate::testkit::{FakeApi, FakeCluster, Fault, until};
use serde_json::json;
use std::time::Duration;
use tombolo_kube::crd::Kind as ObjectKind;
use tombolo_model::appmesh::Spec;

const MESH: &str = "
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: {name: m}
spec: {namespaceSelector: {matchLabels: {mesh: m}}}
";

fn node(name: &str, port: u16) -> String {
    format!(
        "---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{name: {name}, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{app: {name}}}}}
  listeners: [{{portMapping: {{port: {port}, protocol: http}}}}]
  serviceDiscovery: {{dns: {{hostname: {name}.local}}}}
"
    )
}

fn router(name: &str, target: &str) -> String {
    format!(
        "---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {{name: {name}, namespace: shop}}
spec:
  listeners: [{{portMapping: {{port: 80, protocol: http}}}}]
  routes:
    - name: all
      httpRoute: {{match: {{prefix: /}}, action: {{weightedTargets: [{{virtualNodeRef: {{name: {target}}}, weight: 1}}]}}}}
"
    )
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::new("m", Kind::VirtualNode, format!("{name}_shop"))
}

fn port(spec: Option<Spec>) -> u64 {
    let spec = serde_json::to_value(spec).unwrap();
    let pointer = "/listeners/0/portMapping/port";
    spec.pointer(pointer)
        .or_else(|| spec.pointer(&format!("/virtualNode{pointer}")))
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0)
}

fn with_port(port: u16) -> Spec {
    Spec::VirtualNode(
        serde_json::from_value(json!({
            "listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
            "serviceDiscovery": {"dns": {"hostname": "x"}},
        }))
        .unwrap(),
    )
}

fn run(clusters: &[Arc<FakeCluster>], api: &Arc<FakeApi>) -> tokio::task::JoinHandle<()> {
    let options = Options::new("test");
    let controller = Controller::new(clusters.to_vec(), api.clone(), options, Arc::new(|_| {}));
    tokio::spawn(controller.run(Arc::new(Notify::new())))
}

fn is_active(cluster: &FakeCluster, object: &str) -> bool {
    cluster
        .status(object)
        .is_some_and(|status| status.is_active())
}

async fn settled(cluster: &FakeCluster, objects: &[&str]) {
    for object in objects {
        until(object, || is_active(cluster, object)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn parents_are_created_before_children_and_deleted_after_them() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&[MESH, &node("red", 8080), &router("r", "red")].concat());
    run(std::slice::from_ref(&cluster), &api);
    settled(
        &cluster,
        &["Mesh m", "VirtualNode shop/red", "VirtualRouter shop/r"],
    )
    .await;
    let creations: Vec<String> = api
        .calls()
        .into_iter()
        .filter(|call| call.starts_with("create"))
        .collect();
    let router = "mesh/m/virtualRouter/r_shop";
    assert_eq!(
        creations,
        [
            "create mesh/m".to_owned(),
            "create mesh/m/virtualNode/red_shop".to_owned(),
            format!("create {router}"),
            format!("create {router}/route/all")
        ]
    );
    for (kind, namespace, name) in [
        (ObjectKind::Mesh, "", "m"),
        (ObjectKind::VirtualNode, "shop", "red"),
        (ObjectKind::VirtualRouter, "shop", "r"),
    ] {
        cluster.delete(kind, namespace, name);
    }
    until("the end of all", || api.resources().is_empty()).await;
}

/// B6: one rejected object must neither disable the repair of drift nor cause everything to be read again.
#[tokio::test(start_paused = true)]
async fn refused_object_beside_good_ones_stops_nothing_but_itself() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    api.fault("bad_shop", Some(Fault::Refuse));
    cluster.apply(
        &[
            MESH,
            &node("good", 8080),
            &node("bad", 8080),
            &router("dangling", "good"),
        ]
        .concat(),
    );
    run(std::slice::from_ref(&cluster), &api);
    settled(&cluster, &["Mesh m", "VirtualNode shop/good"]).await;
    let problem = || {
        cluster
            .status("VirtualNode shop/bad")
            .and_then(|status| status.problem)
    };
    until("the refusal", || {
        problem().is_some_and(|problem| problem.reason == Reason::Refused)
    })
    .await;
    assert_eq!(problem().unwrap().message, "BadRequestException: no");

    // Drift of a good object is repaired meanwhile: deleted, or changed.
    api.set(&key("good"), None, None);
    until("the node again", || api.spec(&key("good")).is_some()).await;
    api.set(&key("good"), Some(with_port(1)), Some("test"));
    until("the port again", || port(api.spec(&key("good"))) == 8080).await;

    // At rest only the rejected object is tried, each time after a longer pause.
    tokio::time::sleep(Duration::from_secs(120)).await;
    api.calls();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let calls = api.calls();
    assert!(
        calls.iter().all(|call| call.ends_with("bad_shop")),
        "{calls:?}"
    );
    assert!(calls.len() <= 20, "{} calls in two minutes", calls.len());

    api.fault("bad_shop", None);
    settled(&cluster, &["VirtualNode shop/bad"]).await;
}

#[tokio::test(start_paused = true)]
async fn object_with_a_dangling_reference_keeps_what_it_has_and_wakes_when_it_returns() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&[MESH, &node("red", 8080), &router("r", "red")].concat());
    run(std::slice::from_ref(&cluster), &api);
    settled(&cluster, &["VirtualRouter shop/r"]).await;
    cluster.delete(ObjectKind::VirtualNode, "shop", "red");
    let problem = || {
        cluster
            .status("VirtualRouter shop/r")
            .and_then(|status| status.problem)
    };
    until("the complaint", || {
        problem().is_some_and(|problem| problem.reason == Reason::InvalidReference)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        api.resources()
            .iter()
            .filter(|name| name.contains("virtualRouter"))
            .count(),
        2
    );
    cluster.apply(&node("red", 8080));
    settled(&cluster, &["VirtualRouter shop/r", "VirtualNode shop/red"]).await;
}

#[tokio::test(start_paused = true)]
async fn api_that_was_away_is_caught_up_with_within_seconds_of_its_return() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    api.set_away(true);
    cluster.apply(&[MESH, &node("red", 8080), &node("blue", 8080)].concat());
    run(std::slice::from_ref(&cluster), &api);
    let problem = || cluster.status("Mesh m").and_then(|status| status.problem);
    until("the outage in the status", || {
        problem().is_some_and(|problem| problem.reason == Reason::Unreachable)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    api.calls();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = api.calls().len();
    assert!(calls <= 40, "{calls} calls in a minute of an outage");
    api.set_away(false);
    let back = Instant::now();
    settled(
        &cluster,
        &["Mesh m", "VirtualNode shop/red", "VirtualNode shop/blue"],
    )
    .await;
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn call_that_panics_or_is_never_answered_stops_nothing_but_itself() {
    for fault in [Fault::Panic, Fault::Silence] {
        let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
        api.fault("bad_shop", Some(fault));
        cluster.apply(&[MESH, &node("bad", 8080), &node("good", 8080)].concat());
        let controller = run(std::slice::from_ref(&cluster), &api);
        settled(&cluster, &["VirtualNode shop/good"]).await;
        for port_number in [8081, 8082, 8083] {
            cluster.apply(&node("good", port_number));
            until("the change", || {
                port(api.spec(&key("good"))) == u64::from(port_number)
            })
            .await;
        }
        let problem = || {
            cluster
                .status("VirtualNode shop/bad")
                .and_then(|status| status.problem)
        };
        until("its problem in the status", || problem().is_some()).await;
        assert!(!controller.is_finished());
        api.fault("bad_shop", None);
        settled(&cluster, &["VirtualNode shop/bad"]).await;
        controller.abort();
    }
}

/// B7: resources of an earlier run that are not desired any more are deleted, and no others.
#[tokio::test(start_paused = true)]
async fn orphans_of_an_earlier_run_are_deleted_and_those_of_others_stay() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&[MESH, &node("red", 8080)].concat());
    for (name, owner) in [
        ("mine", Some("test")),
        ("theirs", Some("west")),
        ("hand-made", None),
    ] {
        api.set(&key(name), Some(with_port(80)), owner);
    }
    let old_mesh = ResourceKey::mesh("old");
    api.set(
        &old_mesh,
        Some(Spec::Mesh(Default::default())),
        Some("test"),
    );
    api.set(
        &ResourceKey::new("old", Kind::VirtualNode, "x"),
        Some(with_port(80)),
        Some("test"),
    );
    run(std::slice::from_ref(&cluster), &api);
    settled(&cluster, &["Mesh m", "VirtualNode shop/red"]).await;
    let left = [
        "mesh/m",
        "mesh/m/virtualNode/hand-made_shop",
        "mesh/m/virtualNode/red_shop",
        "mesh/m/virtualNode/theirs_shop",
    ];
    until("the deletion of the orphans", || api.resources() == left).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(api.resources(), left);
}

#[tokio::test(start_paused = true)]
async fn resource_of_nobody_is_adopted_but_not_deleted_and_that_of_another_controller_is_left_alone()
 {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    api.set(&key("free"), Some(with_port(1)), None);
    api.set(&key("taken"), Some(with_port(1)), Some("west"));
    cluster.apply(&[MESH, &node("free", 8080), &node("taken", 8080)].concat());
    run(std::slice::from_ref(&cluster), &api);
    until("the adoption", || port(api.spec(&key("free"))) == 8080).await;
    let problem = || {
        cluster
            .status("VirtualNode shop/taken")
            .and_then(|status| status.problem)
    };
    until("the conflict", || {
        problem().is_some_and(|problem| problem.reason == Reason::Conflict)
    })
    .await;
    assert!(problem().unwrap().message.contains("belongs to west"));
    assert_eq!(port(api.spec(&key("taken"))), 1);
    cluster.delete(ObjectKind::VirtualNode, "shop", "free");
    cluster.delete(ObjectKind::VirtualNode, "shop", "taken");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(api.spec(&key("free")).is_some() && api.spec(&key("taken")).is_some());
}

#[tokio::test(start_paused = true)]
async fn status_speaks_of_the_generation_that_was_reconciled() {
    let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
    cluster.apply(&[MESH, &node("red", 8080)].concat());
    run(std::slice::from_ref(&cluster), &api);
    settled(&cluster, &["VirtualNode shop/red"]).await;
    cluster.apply(&node("red", 8081));
    let generation = || {
        cluster
            .status("VirtualNode shop/red")
            .and_then(|status| status.generation)
    };
    until("the new generation", || generation() == Some(2)).await;
}

/// Any sequence of changes and faults ends with exactly the desired owned resources in the API.
#[tokio::test(start_paused = true)]
async fn any_sequence_of_changes_and_faults_ends_as_the_objects_ask() {
    for seed in 0..12_u64 {
        let mut generator = fastrand::Rng::with_seed(seed);
        let mut random = |bound: u64| generator.u64(..bound);
        let (cluster, api) = (FakeCluster::new("east"), Arc::new(FakeApi::default()));
        cluster.apply(MESH);
        let mut controller = run(std::slice::from_ref(&cluster), &api);
        let mut nodes: BTreeMap<u64, u16> = BTreeMap::new();
        for _ in 0..80 {
            let name = random(5);
            match random(7) {
                0 | 1 => {
                    let port = u16::try_from(8000 + random(3)).unwrap();
                    cluster.apply(&node(&format!("n{name}"), port));
                    nodes.insert(name, port);
                }
                2 => {
                    if nodes.remove(&name).is_some() {
                        cluster.delete(ObjectKind::VirtualNode, "shop", &format!("n{name}"));
                    }
                }
                3 => api.set(&key(&format!("n{name}")), None, None),
                4 => api.set_away(random(2) == 0),
                5 => {
                    let fault =
                        [Some(Fault::Refuse), Some(Fault::Panic), None, None][random(4) as usize];
                    api.fault(&format!("n{name}_shop"), fault);
                }
                _ => {
                    // The controller is killed and restarted.
                    controller.abort();
                    controller = run(std::slice::from_ref(&cluster), &api);
                }
            }
            tokio::time::sleep(Duration::from_millis(random(3000))).await;
        }
        api.set_away(false);
        (0..5).for_each(|name| api.fault(&format!("n{name}_shop"), None));
        let expected: Vec<(String, u64)> = nodes
            .iter()
            .map(|(name, port)| (format!("n{name}"), u64::from(*port)))
            .collect();
        until(
            &format!("seed {seed}: {expected:?}, have {:?}", api.resources()),
            || {
                let all = api.resources().len() == expected.len() + 1;
                all && expected
                    .iter()
                    .all(|(name, number)| port(api.spec(&key(name))) == *number)
            },
        )
        .await;
        controller.abort();
    }
}
