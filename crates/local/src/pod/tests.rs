//! Pods on a fake machine: processes end when the test says so.

use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::cluster::testkit::{apply_to, cluster_of};
use crate::cluster::{Key, Kind, collect};
use crate::images::Images;
use crate::machine::fake::{FakeMachine, FakeProcess};
use k8s_openapi::jiff::Timestamp;

struct World {
    machine: FakeMachine,
    cluster: Arc<Cluster>,
    host: Arc<Host>,
    _dir: tempfile::TempDir,
}

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n";

fn world() -> World {
    let machine = FakeMachine::default();
    let cluster = cluster_of("east", 0, NAMESPACE);
    let dir = tempfile::tempdir().unwrap();
    let images = Images::read(
        &json!({"*": {"command": ["run"]}}),
        std::path::Path::new("/"),
    )
    .unwrap();
    let common = process::Common {
        images,
        program: "/tombolo".into(),
        envoy: None,
        xds_socket: "/state/xds.sock".into(),
        mark: Some(1337),
        dns: Ipv4Addr::new(10, 100, 0, 10),
        cluster: "east".into(),
    };
    let drain = Duration::from_secs(2);
    let host = Host::new(
        cluster.clone(),
        Arc::new(machine.clone()),
        common,
        Ipv4Addr::LOCALHOST,
        dir.path().to_owned(),
        drain,
    );
    let host = Arc::new(host);
    tokio::spawn(host.clone().run());
    tokio::spawn(cluster.clone().run());
    World {
        machine,
        cluster,
        host,
        _dir: dir,
    }
}

impl World {
    fn apply(&self, spec: &str) {
        apply_to(
            &self.cluster,
            &format!(
                "{NAMESPACE}apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}\nspec: {spec}\n"
            ),
        );
    }

    fn pod(&self) -> Option<Value> {
        self.cluster.objects.read(|objects| {
            objects
                .object(&Key::new(Kind::Pod, "shop", "web"))
                .map(|pod| pod.body.clone())
        })
    }

    fn look(&self, pointer: &str) -> Value {
        self.pod()
            .and_then(|pod| pod.pointer(pointer).cloned())
            .unwrap_or_default()
    }

    fn phase(&self) -> Value {
        self.look("/status/phase")
    }

    fn ready(&self) -> bool {
        let conditions = self.look("/status/conditions");
        conditions
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    /// Waits for a condition; virtual time makes that instant.
    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..100_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "{what} never came; the pod is {:#}",
            self.pod().unwrap_or_default()
        );
    }

    async fn running(&self) -> Arc<FakeProcess> {
        self.until("a running process", |world| {
            !world.machine.alive().is_empty()
        })
        .await;
        self.machine.alive()[0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn pod_without_probes_is_ready_once_it_runs() {
    let world = world();
    world.apply("{containers: [{name: app, image: x}]}");
    world.until("readiness", World::ready).await;
    assert_eq!(world.phase(), "Running");
    let address: Ipv4Addr = world
        .look("/status/podIP")
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(world.machine.places()[&address], "east/web");
    assert_eq!(world.running().await.argv, ["run"]);
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_in_order_before_the_others() {
    let world = world();
    world.apply("{initContainers: [{name: one, image: x, args: [one]}, {name: two, image: x, args: [two]}], containers: [{name: app, image: x, args: [app]}]}");
    for name in ["one", "two"] {
        let process = world.running().await;
        assert_eq!(process.argv[1], name);
        assert_eq!(world.phase(), "Pending");
        process.end(0);
        world
            .until("the next process", |world| {
                world
                    .machine
                    .alive()
                    .iter()
                    .any(|alive| alive.argv[1] != name)
            })
            .await;
    }
    assert_eq!(world.running().await.argv[1], "app");
    world.until("readiness", World::ready).await;
}

#[tokio::test(start_paused = true)]
async fn crashing_container_restarts_at_once_and_then_backs_off() {
    let world = world();
    world.apply("{containers: [{name: app, image: x}]}");
    let begun = tokio::time::Instant::now();
    world.running().await.end(1);
    world
        .until("the first restart", |world| {
            world.look("/status/containerStatuses/0/restartCount") == 1
                && !world.machine.alive().is_empty()
        })
        .await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    world.running().await.end(1);
    let waiting = "/status/containerStatuses/0/state/waiting/reason";
    world
        .until("the back-off", |world| {
            world.look(waiting) == "CrashLoopBackOff"
        })
        .await;
    assert!(!world.ready());
    world.running().await;
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert_eq!(
        world.look("/status/containerStatuses/0/lastState/terminated/exitCode"),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn pod_that_shall_not_restart_succeeds_or_fails() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let world = world();
        world.apply("{restartPolicy: Never, containers: [{name: app, image: x}]}");
        world.running().await.end(code);
        world.until(phase, |world| world.phase() == phase).await;
        assert!(world.machine.alive().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn deleted_pod_drains_then_ends_and_gives_its_address_back_last() {
    let world = world();
    world.apply("{containers: [{name: app, image: x}]}");
    world.until("readiness", World::ready).await;
    let address = world.look("/status/podIP");
    let process = world.running().await;
    let begun = tokio::time::Instant::now();
    let key = Key::new(Kind::Pod, "shop", "web");
    world
        .cluster
        .objects
        .write(|objects| collect::delete(objects, &key, None, Timestamp::UNIX_EPOCH));
    let pods = world
        .cluster
        .objects
        .read(crate::cluster::Objects::list::<Pod>);
    assert!(
        !crate::cluster::endpoint::serves(&pods[0]),
        "a terminating pod must be no endpoint"
    );
    assert!(
        Process::wait(&*process).now_or_never().is_none(),
        "it serves while others hear of it"
    );
    world.until("the end", |world| world.pod().is_none()).await;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(Process::wait(&*process).await, 143);
    assert!(world.machine.places().is_empty());
    world.apply("{containers: [{name: app, image: x}]}");
    world.until("the next pod", World::ready).await;
    assert_ne!(world.look("/status/podIP"), address);
}

#[tokio::test(start_paused = true)]
async fn killed_process_makes_the_pod_unready_at_once() {
    let world = world();
    world.apply("{containers: [{name: app, image: x, readinessProbe: {tcpSocket: {host: 127.0.0.1, port: 1}}}, {name: other, image: x}]}");
    world
        .until("both processes", |world| world.machine.alive().len() == 2)
        .await;
    assert!(!world.ready());
    assert_eq!(world.look("/status/containerStatuses/1/ready"), true);
    let other = world
        .machine
        .alive()
        .into_iter()
        .find(|process| process.pod == "web")
        .unwrap();
    other.end(137);
    let begun = tokio::time::Instant::now();
    world
        .until("the restart", |world| {
            world
                .host
                .pod("shop", "web")
                .is_some_and(|pod| pod.processes().len() == 2)
                && world.machine.alive().len() == 2
        })
        .await;
    assert!(begun.elapsed() < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn missing_configmap_is_named_and_the_pod_starts_when_it_appears() {
    let world = world();
    world.apply(
        "{containers: [{name: app, image: x, envFrom: [{configMapRef: {name: settings}}]}]}",
    );
    let waiting = "/status/containerStatuses/0/state/waiting";
    world
        .until("the complaint", |world| {
            world.look(waiting)["reason"] == "CreateContainerConfigError"
        })
        .await;
    assert!(
        world.look(waiting)["message"]
            .as_str()
            .unwrap()
            .contains("configmap \"settings\" not found")
    );
    apply_to(
        &world.cluster,
        &format!(
            "{NAMESPACE}apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: shop}}\ndata: {{a: b}}\n"
        ),
    );
    world.until("readiness", World::ready).await;
}

#[tokio::test(start_paused = true)]
async fn restart_is_counted_when_it_happens() {
    let world = world();
    world.apply("{containers: [{name: app, image: x}]}");
    let count = "/status/containerStatuses/0/restartCount";
    for restarts in 0..3 {
        let process = world.running().await;
        world
            .until("the count", |world| world.look(count) == restarts)
            .await;
        process.end(1);
    }
    let waiting = "/status/containerStatuses/0/state/waiting/reason";
    world
        .until("the back-off", |world| {
            world.look(waiting) == "CrashLoopBackOff"
        })
        .await;
    assert_eq!(world.look(count), 2);
}

#[tokio::test(start_paused = true)]
async fn deletion_that_has_begun_can_be_made_quicker() {
    let world = world();
    world.apply("{terminationGracePeriodSeconds: 600, containers: [{name: app, image: x, lifecycle: {preStop: {sleep: {seconds: 500}}}}]}");
    world.until("readiness", World::ready).await;
    let key = Key::new(Kind::Pod, "shop", "web");
    let delete = |grace| {
        let now = Timestamp::UNIX_EPOCH;
        let objects = &world.cluster.objects;
        objects.write(|objects| collect::delete(objects, &key, grace, now))
    };
    let begun = tokio::time::Instant::now();
    delete(None);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(world.pod().is_some(), "its hook is still running");
    delete(Some(100));
    delete(Some(200));
    world.until("the end", |world| world.pod().is_none()).await;
    let after = begun.elapsed().as_secs();
    assert!((100..110).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn program_whose_hook_took_all_the_time_is_still_asked_to_end() {
    let world = world();
    world.apply("{terminationGracePeriodSeconds: 5, containers: [{name: app, image: x, lifecycle: {preStop: {sleep: {seconds: 60}}}}]}");
    world.until("readiness", World::ready).await;
    let process = world.running().await;
    let key = Key::new(Kind::Pod, "shop", "web");
    world
        .cluster
        .objects
        .write(|objects| collect::delete(objects, &key, None, Timestamp::UNIX_EPOCH));
    world.until("the end", |world| world.pod().is_none()).await;
    assert_eq!(Process::wait(&*process).await, 143);
}

#[tokio::test(start_paused = true)]
async fn pod_whose_worker_panics_is_removed_and_replaced() {
    let world = world();
    world.machine.panic_at_starts(1);
    apply_to(
        &world.cluster,
        &format!(
            "{NAMESPACE}apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: web, image: web}}]}}}}\n"
        ),
    );
    world.running().await;
    let pods = world.cluster.objects.read(|objects| objects.list::<Pod>());
    assert_eq!(pods.len(), 1);
    // The address of the first pod is free again, and its worker is gone.
    assert_eq!(
        (world.machine.places().len(), world.host.pods().len()),
        (1, 1)
    );
}
